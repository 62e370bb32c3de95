//! Login: the arguments a connection is opened with, and why the broker refused it.

use std::{path::Path, time::Duration};

use amqprs::{connection::OpenConnectionArguments, error::Error, tls::TlsAdaptor};

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

/// A broker refuses a password by closing the socket after a pause of some seconds. It sends a reason
/// only to clients with the capability `authentication_failure_close`, which this one doesn't have.
const MIN_REFUSAL_TIME: Duration = Duration::from_secs(1);

pub(super) fn explain(error: &Error, address: &Address, took: Duration) -> OpenError {
    let text = error.to_string();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["530", "NOT_ALLOWED", "not_allowed"]) {
        let reason = broker_text(&text);
        return OpenError::Vhost(format!(
            "{address}: the broker refused the virtual host: {reason}"
        ));
    }
    if says(&["403", "ACCESS_REFUSED"]) {
        return OpenError::Credentials(format!(
            "{address}: the broker refused the user or the password"
        ));
    }
    if says(&["certificate", "tls", "TLS", "InvalidContentType", "corrupt message", "dnsname"]) {
        let reason = text.rsplit("network io error: ").next().unwrap_or(&text);
        return OpenError::Tls(format!("{address}: TLS failed: {reason}"));
    }
    let closed = says(&["reset by peer", "peer shutdown", "Broken pipe", "interrupted", "eof"]);
    if closed && took > MIN_REFUSAL_TIME {
        return OpenError::Credentials(format!(
            "{address}: the broker closed the connection during login; most likely the user or the password is wrong"
        ));
    }
    let hint = if closed && !address.tls { " (a TLS port needs amqps://)" } else { "" };
    OpenError::Unreachable(format!(
        "{address}: {}{hint}",
        text.trim_start_matches("AMQP network error: ").trim_start_matches("network io error: ")
    ))
}

/// The broker's reply text within the client's error message.
fn broker_text(text: &str) -> &str {
    let from = text.find("NOT_ALLOWED").unwrap_or(0);
    let text = &text[from..];
    &text[..text.find('"').unwrap_or(text.len())]
}
