//! The reqwest client: TLS provider, proxy, redirects.

use std::time::Duration;

use url::{Host, Url};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client for calls to the service at `base`.
///
/// # Errors
/// If the TLS certificates of the system can't be loaded.
pub(super) fn client(base: &Url) -> reqwest::Result<reqwest::Client> {
    // It fails if a provider is installed already, which is the same one: the project uses no other.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("slowlane/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        // A redirected POST would become a GET.
        .redirect(reqwest::redirect::Policy::none());
    // Plain HTTP works on a machine without certificates of authorities too.
    let builder = if base.scheme() == "https" { builder } else { builder.tls_certs_only([]) };
    if is_loopback(base) { builder.no_proxy() } else { builder }.build()
}

/// Whether the host is this machine, which no proxy can reach.
fn is_loopback(base: &Url) -> bool {
    match base.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The URL without user and password, for messages.
pub(super) fn without_credentials(base: &Url) -> String {
    let mut shown = base.clone();
    // Only URLs without a host refuse this.
    let _ = shown.set_username("").and_then(|()| shown.set_password(None));
    shown.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        let base = "https://me:hunter2@a:8443/".parse().unwrap();
        assert_eq!(without_credentials(&base), "https://a:8443");
    }
}
