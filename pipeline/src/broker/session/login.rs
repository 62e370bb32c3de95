//! Login: the arguments that a connection is opened with.

use std::path::Path;

use amqprs::{connection::OpenConnectionArguments, tls::TlsAdaptor};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::broker::{address::Address, error::OpenError};

pub(super) fn arguments(
    address: &Address,
    name: &str,
) -> Result<OpenConnectionArguments, OpenError> {
    let host = if address.host.contains(':') {
        format!("[{}]", address.host)
    } else {
        address.host.clone()
    };
    let mut arguments =
        OpenConnectionArguments::new(&host, address.port, &address.user, address.password());
    arguments.virtual_host(&address.vhost).connection_name(name).heartbeat(address.heartbeat);
    if address.tls {
        // Installed already is as good: every part of the project uses the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca_file = address.ca_file.as_ref().map(Path::new);
        ca_file.map_or(Ok(()), check_ca_file)?;
        let adaptor =
            TlsAdaptor::without_client_auth(ca_file, address.host.clone()).map_err(|error| {
                OpenError::Tls(format!(
                    "cacertfile {} can't be used: {error}",
                    address.ca_file.as_deref().unwrap_or_default()
                ))
            })?;
        arguments.tls_adaptor(adaptor);
    }
    Ok(arguments)
}

/// Checks what the client would panic on: a file that is PEM, but holds no certificates.
fn check_ca_file(file: &Path) -> Result<(), OpenError> {
    let refused =
        |why: String| OpenError::Tls(format!("cacertfile {} can't be used: {why}", file.display()));
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(file).map_err(|error| refused(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
    }
    if roots.is_empty() { Err(refused("it holds no certificate".to_owned())) } else { Ok(()) }
}
