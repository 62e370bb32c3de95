//! HTTP clients for tests and `xtask`.

use reqwest::{Client, ClientBuilder};

/// The beginnings of a client that reaches programs on this machine, past any proxy.
pub fn builder() -> ClientBuilder {
    // Installed already is as good: every part of the project uses the same provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // It speaks no TLS, and so needs no certificates of the machine.
    Client::builder().no_proxy().tls_certs_only([])
}
