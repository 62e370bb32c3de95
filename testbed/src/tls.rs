//! Makes a certificate authority and a server certificate for 127.0.0.1.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// The files of one private authority and the server it vouches for, all PEM.
#[derive(Debug, Clone)]
pub struct Files {
    /// The authority's certificate: what a client must trust.
    pub ca: PathBuf,
    /// The server's certificate, good for `localhost` and `127.0.0.1`.
    pub certificate: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
}

impl Files {
    /// The places of the files inside `dir`, whether they were written yet or not.
    pub fn in_dir(dir: &Path) -> Self {
        Self {
            ca: dir.join("ca.pem"),
            certificate: dir.join("server.pem"),
            key: dir.join("server.key"),
        }
    }
}

/// Makes an authority and a server certificate and writes them into `dir`.
pub fn write(dir: &Path) -> Result<Files> {
    std::fs::create_dir_all(dir).context("cannot make the folder for certificates")?;
    let issuer = authority()?;
    let key = KeyPair::generate()?;
    let certificate = server()?.signed_by(&key, &issuer)?;
    let files = Files::in_dir(dir);
    std::fs::write(&files.ca, issuer.pem())?;
    std::fs::write(&files.certificate, certificate.pem())?;
    std::fs::write(&files.key, key.serialize_pem())?;
    Ok(files)
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Slowlane test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn server() -> Result<CertificateParams> {
    let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}
