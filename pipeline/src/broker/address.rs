//! Broker address: an AMQP URL, parsed once; its password is never shown.

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

/// Where a broker is and how to log in to it, from an `amqp://` or `amqps://` URL.
///
/// The form is the one of <https://www.rabbitmq.com/docs/uri-spec>, with the query parameters
/// `heartbeat` (seconds) and `cacertfile` (a PEM file). Neither `Display` nor `Debug` shows the
/// password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// A name or an IP address; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The user's name.
    pub user: String,
    /// The virtual host, decoded: `/` unless the URL names one.
    pub vhost: String,
    /// The heartbeat in seconds; the broker may ask for less.
    pub heartbeat: u16,
    /// A private certificate authority instead of the public ones.
    pub ca_file: Option<String>,
    password: String,
}

/// Long enough for a slow network, short enough to notice a dead peer within 20 seconds.
const DEFAULT_HEARTBEAT: u16 = 10;

/// Why a text is not a broker address. No message contains a part of the text, which may be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// It isn't a URL.
    #[error("not a URL: {0}")]
    Url(#[from] url::ParseError),
    /// It is a URL of another scheme.
    #[error("the URL must begin with amqp:// or amqps://")]
    Scheme,
    /// A `#`, which would begin a fragment: what stands behind it, most likely the host, would be dropped.
    #[error("write # as %23")]
    Fragment,
    /// The path has an `@`, most likely since the password has a `/`.
    #[error("an @ stands after a /: write / in the password as %2F")]
    AtInPath,
    /// This part isn't UTF-8 once decoded.
    #[error("the {0} is not UTF-8")]
    NotUtf8(&'static str),
    /// This part doesn't fit into AMQP's fields.
    #[error("the {0} is longer than 255 bytes")]
    TooLong(&'static str),
    /// The parameter `heartbeat` is out of range.
    #[error("heartbeat must be from 4 to 60 seconds")]
    Heartbeat,
    /// There is a parameter other than `heartbeat` and `cacertfile`.
    #[error("of the URL's parameters only heartbeat and cacertfile are known")]
    UnknownParameter,
}

impl Address {
    /// Parses a URL.
    ///
    /// # Errors
    /// [`InvalidAddress`], without any part of the URL that could be secret.
    pub fn parse(url: &str) -> Result<Self, InvalidAddress> {
        if url.contains('#') {
            return Err(InvalidAddress::Fragment);
        }
        let url = Url::parse(url)?;
        let tls = match url.scheme() {
            "amqp" => false,
            "amqps" => true,
            _ => return Err(InvalidAddress::Scheme),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).unwrap_or("localhost");
        let user = if url.username().is_empty() { "guest" } else { url.username() };
        if url.path().contains('@') {
            // A password with a bare slash is in the path, and would be shown as the virtual host.
            return Err(InvalidAddress::AtInPath);
        }
        let path = url.path().strip_prefix('/').filter(|path| !path.is_empty());
        let mut address = Self {
            tls,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(if tls { 5671 } else { 5672 }),
            user: decode_short(user, "user")?,
            password: decode_short(url.password().unwrap_or("guest"), "password")?,
            vhost: decode_short(path.unwrap_or("%2f"), "virtual host")?,
            heartbeat: DEFAULT_HEARTBEAT,
            ca_file: None,
        };
        url.query_pairs().try_for_each(|(name, value)| address.set(&name, &value))?;
        Ok(address)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), InvalidAddress> {
        match (name, value.parse()) {
            ("heartbeat", Ok(seconds @ 4..=60)) => self.heartbeat = seconds,
            ("heartbeat", _) => return Err(InvalidAddress::Heartbeat),
            ("cacertfile", _) => self.ca_file = Some(value.to_owned()),
            _ => return Err(InvalidAddress::UnknownParameter),
        }
        Ok(())
    }

    /// `amqp` or `amqps`.
    pub fn scheme(&self) -> &'static str {
        if self.tls { "amqps" } else { "amqp" }
    }

    /// `HOST:PORT`, with brackets around an IPv6 address.
    pub fn host_and_port(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// The URL of the same virtual host through a proxy on this port of 127.0.0.1. It holds the password.
    pub fn url_through(&self, port: u16) -> String {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let [user, password, vhost] =
            [&self.user, &self.password, &self.vhost].map(|part| encode(part));
        format!("amqp://{user}:{password}@127.0.0.1:{port}/{vhost}")
    }

    /// The password of the user. It must not be shown.
    pub fn password(&self) -> &str {
        &self.password
    }
}

/// Decodes a part of the URL. AMQP carries these in fields of at most 255 bytes.
fn decode_short(part: &str, what: &'static str) -> Result<String, InvalidAddress> {
    let decoded =
        percent_decode_str(part).decode_utf8().map_err(|_| InvalidAddress::NotUtf8(what))?;
    if decoded.len() > 255 {
        return Err(InvalidAddress::TooLong(what));
    }
    Ok(decoded.into_owned())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, vhost, .. } = self;
        write!(f, "{}://{} vhost {vhost} as {user}", self.scheme(), self.host_and_port())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_vhost_are_decode_short() {
        let address =
            Address::parse("amqps://us%40er:p%2Fss@broker.example/my%20vhost?heartbeat=20")
                .unwrap();
        assert_eq!(address.user, "us@er");
        assert_eq!(address.password(), "p/ss");
        assert_eq!(address.vhost, "my vhost");
        assert_eq!((address.port, address.heartbeat), (5671, 20));
    }

    #[test]
    fn what_is_left_out_has_the_usual_default() {
        for url in
            ["amqp://localhost", "amqp://localhost/", "amqp://guest:guest@localhost:5672/%2F"]
        {
            let address = Address::parse(url).unwrap();
            assert_eq!(address.to_string(), "amqp://localhost:5672 vhost / as guest");
        }
        assert_eq!(Address::parse("amqp://[::1]/a/b").unwrap().host, "::1");
        assert_eq!(Address::parse("amqp://h/a/b").unwrap().vhost, "a/b");
    }

    #[test]
    fn bad_urls_are_refused_without_their_password() {
        for url in [
            "hunter2",
            "http://u:hunter2@h",
            "amqp://u:hunter2@h:99999",
            "amqp://u:hunter2@h/v?heartbeat=1",
            "amqp://u:hunter2@h/v?heartbeat",
            "amqp://u:hunter2@h/v?verify=hunter2",
            "amqp://u:12/hunter2@h/v",
            "amqp://u:#hunter2@h/v",
        ] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(
            !format!("{:?}", Address::parse("amqp://u:hunter2@h").unwrap()).contains("hunter2")
        );
    }

    #[test]
    fn nothing_of_a_url_is_dropped_behind_a_number_sign() {
        for url in ["amqp://app:#secret@h/v", "amqp://app:se#cret@h/v", "amqps://u:p@h/prod#2"] {
            assert_eq!(Address::parse(url), Err(InvalidAddress::Fragment), "{url}");
        }
        let address = Address::parse("amqp://app:%23secret@h/prod%232").unwrap();
        assert_eq!((address.password(), address.vhost.as_str()), ("#secret", "prod#2"));
    }
}
