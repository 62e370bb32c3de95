//! What may stand as a `callbackUrl`.

use std::net::IpAddr;

use url::{Host, Url};

use crate::webhooks::public_address::is_public;
use store::Target;

/// The longest address, in bytes.
const LONGEST: usize = 2000;

/// Which addresses may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Public ones, over https.
    Public,
    /// Any, also over http: for development.
    Anywhere,
}

impl Reach {
    /// An address that a client gives, in its one form: however a number is written there, it is an IP
    /// address afterwards.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn target(self, text: &str) -> Result<Target, String> {
        if text.len() > LONGEST {
            return Err(format!("callbackUrl has {LONGEST} bytes at most."));
        }
        let url = Url::parse(text).map_err(|error| format!("callbackUrl is no URL: {error}."))?;
        let host = self.check(&url)?;
        Ok(Target { url: url.into(), host })
    }

    /// The host of an address that may be called, as far as can be seen without asking for its name.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn check(self, url: &Url) -> Result<String, String> {
        match url.scheme() {
            "https" => {}
            "http" if self == Self::Anywhere => {}
            _ => return Err("callbackUrl begins with https://.".to_owned()),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("callbackUrl holds no user and no password.".to_owned());
        }
        if url.port() == Some(0) {
            return Err("callbackUrl has no port 0.".to_owned());
        }
        let host = url.host().ok_or("callbackUrl names a host.")?;
        if self.takes(&host) {
            return Ok(host.to_string());
        }
        Err("callbackUrl leads to an address that is not public; CALLBACK_ALLOW_PRIVATE=true allows that, for development.".to_owned())
    }

    /// Whether an address to which a name leads may be called.
    pub fn takes_ip(self, address: IpAddr) -> bool {
        self == Self::Anywhere || is_public(address)
    }

    fn takes(self, host: &Host<&str>) -> bool {
        match host {
            Host::Ipv4(address) => self.takes_ip((*address).into()),
            Host::Ipv6(address) => self.takes_ip((*address).into()),
            Host::Domain(name) => self == Self::Anywhere || !is_local(name),
        }
    }
}

/// Whether a name is this machine's own whatever the servers of names say (RFC 6761).
fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_https_addresses_are_taken() {
        for (good, host) in [
            ("https://example.com", "example.com"),
            ("https://EXAMPLE.com:8443/a?token=b#c", "example.com"),
            ("https://1.1.1.1/", "1.1.1.1"),
            ("https://[2606:4700::1111]/", "[2606:4700::1111]"),
            ("https://localhost.example.com/", "localhost.example.com"),
            ("https://bücher.example/", "xn--bcher-kva.example"),
        ] {
            assert_eq!(Reach::Public.target(good).unwrap().host, host);
        }
    }

    #[test]
    fn what_leads_elsewhere_is_refused_however_it_is_written() {
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
            let refused = Reach::Public.target(bad).unwrap_err();
            assert!(refused.contains("not public"), "{bad}: {refused}");
            assert!(Reach::Anywhere.target(bad).is_ok(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_everywhere() {
        let long = format!("https://example.com/{}", "x".repeat(LONGEST));
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
            assert!(Reach::Public.target(bad).is_err(), "{bad}");
            assert!(Reach::Anywhere.target(bad).is_err(), "{bad}");
        }
        assert!(Reach::Public.target("http://example.com/").is_err());
        assert!(Reach::Anywhere.target("http://example.com/").is_ok());
    }
}
