//! Webhook targets: which URLs may stand as a `callbackUrl` and be called.

use std::net::IpAddr;

use url::{Host, Url};

use crate::webhooks::public_address::is_public;
use store::CallbackTarget;

/// The longest `callbackUrl`.
const MAX_URL_BYTES: usize = 2000;
/// The longest host, without the dot that may end it: DNS knows no longer name (RFC 1035).
const MAX_HOST_BYTES: usize = 253;

/// Which targets may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowedTargets {
    /// Public addresses, over https.
    PublicHttps,
    /// All addresses, over http too: for development.
    Any,
}

/// Why a `callbackUrl` is not taken. The messages are sentences for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// `WEBHOOK_SECRET` is not set.
    #[error("callbackUrl can't be used here: set WEBHOOK_SECRET, with which callbacks are signed.")]
    NoSecret,
    /// Longer than 2,000 bytes.
    #[error("callbackUrl must not be longer than {MAX_URL_BYTES} bytes.")]
    TooLong,
    /// Not a URL.
    #[error("callbackUrl is not a URL: {0}.")]
    NotUrl(#[from] url::ParseError),
    /// Neither https, nor http where that is allowed.
    #[error("callbackUrl must begin with https://.")]
    Scheme,
    /// A user or a password.
    #[error("callbackUrl must not contain a user or a password.")]
    Credentials,
    /// Port 0.
    #[error("callbackUrl must not have port 0.")]
    PortZero,
    /// No host.
    #[error("callbackUrl must name a host.")]
    NoHost,
    /// A host that is longer than 253 bytes, as it is written for DNS.
    #[error(
        "callbackUrl has a host that DNS can't have: it must not be longer than {MAX_HOST_BYTES} bytes (in punycode)."
    )]
    LongHost,
    /// An address that is not public.
    #[error(
        "callbackUrl leads to an address that is not public; CALLBACK_ALLOW_PRIVATE=true allows that, for development."
    )]
    NotPublic,
}

impl AllowedTargets {
    /// Parses a target and normalizes it: an IP address gets its usual form, however it was written.
    ///
    /// # Errors
    /// If it is not a URL, or not allowed.
    pub fn target(self, text: &str) -> Result<CallbackTarget, TargetError> {
        if text.len() > MAX_URL_BYTES {
            return Err(TargetError::TooLong);
        }
        let url = Url::parse(text)?;
        let host = self.check(&url)?;
        Ok(CallbackTarget { url: url.into(), host })
    }

    /// Checks a URL as far as that is possible without a DNS lookup. Returns its host.
    ///
    /// # Errors
    /// If it is not allowed.
    pub fn check(self, url: &Url) -> Result<String, TargetError> {
        match url.scheme() {
            "https" => {}
            "http" if self == Self::Any => {}
            _ => return Err(TargetError::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::Credentials);
        }
        if url.port() == Some(0) {
            return Err(TargetError::PortZero);
        }
        let host = url.host().ok_or(TargetError::NoHost)?;
        if !self.allows_host(&host) {
            return Err(TargetError::NotPublic);
        }
        let host = host.to_string();
        match host.strip_suffix('.').unwrap_or(&host).len() {
            0..=MAX_HOST_BYTES => Ok(host),
            _ => Err(TargetError::LongHost),
        }
    }

    /// Whether an address that a name resolves to may be called.
    pub fn allows_ip(self, address: IpAddr) -> bool {
        self == Self::Any || is_public(address)
    }

    fn allows_host(self, host: &Host<&str>) -> bool {
        match host {
            Host::Ipv4(address) => self.allows_ip((*address).into()),
            Host::Ipv6(address) => self.allows_ip((*address).into()),
            Host::Domain(name) => self == Self::Any || !is_local(name),
        }
    }
}

/// Whether a name means this machine whatever DNS says (RFC 6761).
fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_https_urls_are_allowed() {
        for (good, host) in [
            ("https://example.com", "example.com"),
            ("https://EXAMPLE.com:8443/a?token=b#c", "example.com"),
            ("https://1.1.1.1/", "1.1.1.1"),
            ("https://[2606:4700::1111]/", "[2606:4700::1111]"),
            ("https://localhost.example.com/", "localhost.example.com"),
            ("https://bücher.example/", "xn--bcher-kva.example"),
        ] {
            assert_eq!(AllowedTargets::PublicHttps.target(good).unwrap().host, host);
        }
    }

    #[test]
    fn private_addresses_are_refused_in_every_spelling() {
        for bad in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://017700000001/",
            "https://127.0.0.1./",
            "https://\u{ff11}\u{ff12}7.0.0.1/",
            "https://10.0.0.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://0/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[fd00::1]/",
            "https://[fe80::1]/",
            "https://localhost/",
            "https://LOCALHOST./",
            "https://a.localhost/",
        ] {
            let refused = AllowedTargets::PublicHttps.target(bad).unwrap_err();
            assert_eq!(refused, TargetError::NotPublic, "{bad}");
            assert!(AllowedTargets::Any.target(bad).is_ok(), "{bad}");
        }
    }

    #[test]
    fn a_host_that_is_too_long_for_dns_is_refused() {
        let labels = |count: usize, label: &str| [label].repeat(count).join(".");
        let longest = labels(127, "a");
        let found = AllowedTargets::Any.target(&format!("https://{longest}./")).unwrap();
        assert_eq!(found.host.len(), MAX_HOST_BYTES + 1);
        // Punycode makes it eight times as long.
        for host in [format!("{longest}.a"), labels(400, "ü")] {
            let refused = AllowedTargets::Any.target(&format!("https://{host}/")).unwrap_err();
            assert_eq!(refused, TargetError::LongHost, "{host}");
        }
    }

    #[test]
    fn malformed_urls_are_always_refused() {
        let long = format!("https://example.com/{}", "x".repeat(MAX_URL_BYTES));
        for bad in [
            "",
            "example.com",
            "/path",
            "https://",
            "ftp://example.com",
            "file:///etc/passwd",
            "https://user@example.com/",
            "https://user:password@example.com/",
            "https://:password@example.com/",
            "https://example.com:0/",
            "https://example.com:65536/",
            "https://exa mple.com/",
            "https://256.256.256.256/",
            "https://[::1/",
            &long,
        ] {
            assert!(AllowedTargets::PublicHttps.target(bad).is_err(), "{bad}");
            assert!(AllowedTargets::Any.target(bad).is_err(), "{bad}");
        }
        assert!(AllowedTargets::PublicHttps.target("http://example.com/").is_err());
        assert!(AllowedTargets::Any.target("http://example.com/").is_ok());
    }
}
