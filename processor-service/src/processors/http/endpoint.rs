//! The endpoint of `PROCESSOR_URL`: an http or https URL, shown without what may be secret.

use std::fmt;

use thiserror::Error;
use url::{Host, Url};

/// Where the work is done: an http or https URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
}

/// Why a text is no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidEndpoint {
    /// It is no URL.
    #[error("it is no URL: {0}")]
    NoUrl(#[from] url::ParseError),
    /// It has another scheme.
    #[error("it begins neither with http:// nor with https://")]
    Scheme,
    /// It has a `#`: what stands behind it is not sent, and may have been meant as the host.
    #[error("write # as %23")]
    Fragment,
}

impl Endpoint {
    /// Reads a URL. A user and a password in it are sent as `Authorization: Basic`.
    ///
    /// # Errors
    /// If the text is no http or https URL, or has a fragment.
    pub fn parse(text: &str) -> Result<Self, InvalidEndpoint> {
        if text.contains('#') {
            return Err(InvalidEndpoint::Fragment);
        }
        let url = Url::parse(text.trim())?;
        match url.scheme() {
            "http" | "https" => Ok(Self { url }),
            _ => Err(InvalidEndpoint::Scheme),
        }
    }

    /// The URL, with user and password.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Whether calls are encrypted.
    pub(super) fn uses_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whether the host is this machine, which no proxy can reach.
    pub(super) fn is_loopback(&self) -> bool {
        match self.url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
    }
}

impl fmt::Display for Endpoint {
    /// The URL without user, password and query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.url.clone();
        // Only URLs without a host refuse this.
        let _shown = shown.set_username("").and_then(|()| shown.set_password(None));
        shown.set_query(None);
        f.write_str(shown.as_str())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_shown_without_secrets() {
        let endpoint = Endpoint::parse(" http://me:hunter2@a:81/do/it?key=s3cret ").unwrap();
        assert_eq!(endpoint.to_string(), "http://a:81/do/it");
        assert_eq!(format!("{endpoint:?}"), "Endpoint(http://a:81/do/it)");
    }

    #[test]
    fn only_http_urls_are_endpoints() {
        for (text, why) in [
            ("127.0.0.1:80", "it is no URL"),
            ("localhost:80", "neither with http:// nor"),
            ("ftp://a/", "neither with http:// nor"),
            ("http://", "empty host"),
            ("", "it is no URL"),
            ("http://me:#hunter2@a/", "write # as %23"),
            ("http://a/do/it#x", "write # as %23"),
        ] {
            let error = Endpoint::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
