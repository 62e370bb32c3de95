//! The command line over TLS.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
};

use anyhow::{Result, ensure};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use testbed::tls;

use super::{Said, UNKNOWN, fake, slowlane};

/// Serves one connection after the other over TLS, and answers each with the same.
fn serve(files: &tls::Files, answer: String) -> Result<String> {
    let certificates = CertificateDer::pem_file_iter(&files.certificate)?;
    let certificates = certificates.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&files.key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = Arc::new(config.with_no_client_auth().with_single_cert(certificates, key)?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("https://localhost:{}", listener.local_addr()?.port());
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = ServerConnection::new(config.clone()) else { return };
            let mut stream = StreamOwned::new(server, client);
            // A client that does not trust us hangs up.
            if stream.read(&mut [0; 4096]).is_ok() {
                let _ = stream.write_all(answer.as_bytes());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    Ok(url)
}

#[tokio::test]
async fn https_is_spoken_with_those_whom_the_system_trusts() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let files = tls::write(folder.path())?;
    let body = format!("{{\"requestId\":\"{UNKNOWN}\",\"status\":\"completed\"}}");
    let url = serve(&files, fake::answer(200, "", &body))?;
    let words = ["get", UNKNOWN, "--retry-for", "0s"];
    let trusting = slowlane(&url, &words).env("SSL_CERT_FILE", &files.ca).start()?;
    let said = Said::by(&trusting).await?;
    ensure!(said.code == Some(0) && said.text.contains("completed"), "{}", said.text);

    let other = tls::write(&folder.path().join("other"))?;
    let wary = slowlane(&url, &words).env("SSL_CERT_FILE", &other.ca).start()?;
    let said = Said::by(&wary).await?;
    ensure!(said.code == Some(7) && said.text.contains("certificate"), "{}", said.text);
    Ok(())
}
