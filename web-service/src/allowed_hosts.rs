//! `ALLOWED_HOSTS`: the `Host` headers that are served, against DNS rebinding.
//!
//! A page on the web can let its own name point to an address in your network. The browser takes that address for the
//! page's own server, and lets the page read the answers. Only the `Host` header tells such calls apart: it has the page's
//! name. An address in the place of a name is not under the page's control.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use pipeline::config::ParseError;

/// The value that allows every host.
const ANY: &str = "*";

/// Which hosts are served.
#[derive(Debug, Clone)]
pub struct AllowedHosts {
    bound: IpAddr,
    names: HostNames,
}

/// The value of `ALLOWED_HOSTS`: names and addresses that are served besides the loopback ones and the bound address.
#[derive(Debug, Clone, Default)]
pub struct HostNames(Vec<String>);

impl HostNames {
    /// Parses names and addresses without ports, separated by commas.
    ///
    /// # Errors
    /// If one of them is no host.
    pub fn parse(value: &str) -> Result<Self, ParseError> {
        let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
        let names: Option<Vec<_>> = names
            .map(|name| match name {
                ANY => Some(ANY.to_owned()),
                name => is_host(name).then(|| normalized(name)),
            })
            .collect();
        names.map(Self).ok_or_else(ParseError::default)
    }
}

impl AllowedHosts {
    /// The hosts that are served by a service that listens at `bound`.
    pub fn new(bound: SocketAddr, names: HostNames) -> Self {
        Self { bound: bound.ip().to_canonical(), names }
    }

    /// Whether a `Host` header, or the authority of a URL, names an allowed host. Its port does not matter.
    pub(crate) fn allow(&self, authority: &str) -> bool {
        if self.names.0.iter().any(|name| name == ANY) {
            return true;
        }
        let Some(host) = host_of(authority).map(normalized) else { return false };
        if self.names.0.contains(&host) {
            return true;
        }
        match address(&host) {
            // Bound to all addresses of the machine, which need not know under which ones it is reached.
            Some(ip) => ip.is_loopback() || ip == self.bound || self.bound.is_unspecified(),
            None => host == "localhost" || host.ends_with(".localhost"),
        }
    }
}

/// The host of `host`, `host:port`, `[v6]` or `[v6]:port`.
fn host_of(authority: &str) -> Option<&str> {
    let end = if authority.starts_with('[') { authority.find(']')? + 1 } else { 0 };
    let colon = authority[end..].find(':').map(|at| end + at);
    let (host, port) = match colon {
        Some(colon) => (&authority[..colon], &authority[colon + 1..]),
        None => (authority, ""),
    };
    (is_host(host) && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(host)
}

/// Whether this is a name, an IPv4 address, or an IPv6 address in brackets or without.
fn is_host(text: &str) -> bool {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    address(text).is_some() || (!text.is_empty() && text.bytes().all(is_name_byte))
}

/// In small letters, without the dot that may end a name; addresses in their one form.
fn normalized(host: &str) -> String {
    match address(host) {
        Some(ip) => ip.to_string(),
        None => host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase(),
    }
}

fn address(host: &str) -> Option<IpAddr> {
    let ip = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?.into(),
        None => host.parse::<IpAddr>().ok()?,
    };
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(bound: &str, names: &str) -> AllowedHosts {
        AllowedHosts::new(bound.parse().unwrap(), HostNames::parse(names).unwrap())
    }

    #[test]
    fn only_loopback_names_and_the_bound_address_are_served() {
        let hosts = hosts("127.0.0.1:3000", "");
        for good in [
            "localhost",
            "LocalHost:3000",
            "localhost.:80",
            "app.localhost",
            "127.0.0.1:3000",
            "127.0.0.1:",
            "[::1]",
            "[::1]:3000",
            "[0:0::1]",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(hosts.allow(good), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:3000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evillocalhost",
            "10.0.0.1",
            "0.0.0.0",
            "[::2]",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "localhost:3000:1",
            "user@localhost",
            "localhost/x",
            "localhost,evil.example",
            "",
            ":3000",
            ".",
            " localhost",
            "2130706433",
            "127.1",
        ] {
            assert!(!hosts.allow(bad), "{bad}");
        }
    }

    #[test]
    fn a_service_at_one_address_is_reached_there_and_one_at_all_at_any() {
        let one = hosts("192.168.1.5:3000", "");
        assert!(one.allow("192.168.1.5:3000") && one.allow("localhost"));
        assert!(!one.allow("192.168.1.6") && !one.allow("evil.example"));
        for all in [hosts("0.0.0.0:3000", ""), hosts("[::]:3000", "")] {
            assert!(all.allow("192.168.1.6:3000") && all.allow("[fd00::1]"));
            assert!(!all.allow("evil.example") && !all.allow("web:3000"));
        }
    }

    #[test]
    fn more_hosts_can_be_named() {
        let named = hosts("127.0.0.1:3000", "API.example.com., web , 10.0.0.1, ::2");
        for good in ["api.example.com:443", "web:3000", "10.0.0.1", "[::2]:80", "localhost"] {
            assert!(named.allow(good), "{good}");
        }
        assert!(!named.allow("www.api.example.com") && !named.allow("example.com"));
        assert!(hosts("127.0.0.1:3000", "*").allow("evil.example"));
        for bad in ["http://a", "a:3000", "a b", "*.example.com", "a/b", "[::1]:80"] {
            assert!(HostNames::parse(bad).is_err(), "{bad}");
        }
    }
}
