//! Parsers of settings: from a variable's text to an exact type.

use std::{fmt, net::SocketAddr, time::Duration};

use url::Url;

use crate::{
    broker::address::Address,
    topology::{objects::QueueType, request_type::RequestTypes, retry::RetryDelays},
};

/// A value that can't be used. [`Variable::takes`](crate::config::Variable::takes) says what can.
#[derive(Debug, Default)]
pub struct ParseError {
    /// What is wrong with this value in particular, if there is more to say.
    pub detail: Option<String>,
}

impl ParseError {
    /// A value that can't be used for this reason.
    pub fn because(detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()) }
    }
}

/// A number of bytes.
pub type Size = usize;

/// A text that is never shown.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The text, for where it is used.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

/// An http or https URL that is never shown, since it may hold a password.
#[derive(Clone)]
pub struct SecretUrl(Url);

impl SecretUrl {
    /// The URL, for where it is used.
    pub fn expose(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The largest body that is sent, in bytes: brokers from 4.0 on refuse 16 MiB.
const MAX_BODY_BYTES: Size = 15 * 1024 * 1024;

/// A hundred years: what is far longer can't be added to a point in time.
const MAX_DURATION: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// A duration with its unit: `200ms`, `5s`, `1m30s`.
///
/// # Errors
/// If it isn't one, is zero, or is longer than a hundred years.
pub fn duration(value: &str) -> Result<Duration, ParseError> {
    let duration = duration_or_zero(value)?;
    if duration.is_zero() { Err(ParseError::because("not zero")) } else { Ok(duration) }
}

/// A duration with its unit, or zero, which needs none: `200ms`, `1m30s`, `0s`, `0`.
///
/// # Errors
/// If it isn't one, or is longer than a hundred years.
pub fn duration_or_zero(value: &str) -> Result<Duration, ParseError> {
    match humantime::parse_duration(value) {
        Ok(duration) if duration <= MAX_DURATION => Ok(duration),
        Ok(_) => Err(ParseError::because("at most 36500d")),
        Err(_) => Err(ParseError::default()),
    }
}

/// A size with its unit: `512KiB`, `1MiB`.
///
/// # Errors
/// If it isn't one, or is zero.
pub fn size(value: &str) -> Result<Size, ParseError> {
    let size: bytesize::ByteSize = value.parse().map_err(|_| ParseError::default())?;
    let size = Size::try_from(size.as_u64()).map_err(|_| ParseError::default())?;
    if size == 0 { Err(ParseError::because("not zero")) } else { Ok(size) }
}

/// The size of a body that is to go through the broker.
///
/// # Errors
/// If it isn't a size, or larger than the broker takes.
pub fn body_limit(value: &str) -> Result<Size, ParseError> {
    size(value)
        .and_then(|size| if size > MAX_BODY_BYTES { Err(ParseError::default()) } else { Ok(size) })
}

/// A number of worker loops.
///
/// # Errors
/// If it isn't a number from 1 to 1000: each worker takes a channel, and a broker allows 2047.
pub fn count(value: &str) -> Result<usize, ParseError> {
    match value.parse() {
        Ok(count @ 1..=1000) => Ok(count),
        _ => Err(ParseError::default()),
    }
}

/// How many deliveries a worker may hold.
///
/// # Errors
/// If it isn't a number from 1 to 64: more would only wait longer.
pub fn prefetch(value: &str) -> Result<u16, ParseError> {
    match value.parse() {
        Ok(count @ 1..=64) => Ok(count),
        _ => Err(ParseError::default()),
    }
}

/// How often a message may be delivered.
///
/// # Errors
/// If it isn't a number from 1 to 19: after the twentieth the broker dead-letters a message.
pub fn deliveries(value: &str) -> Result<i64, ParseError> {
    match value.parse() {
        Ok(count @ 1..=19) => Ok(count),
        _ => Err(ParseError::default()),
    }
}

/// The longest delay between attempts; a broker would take seven times as long.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Each delay has a queue, and small hosted plans allow a hundred.
const MAX_RETRY_DELAYS: usize = 20;

/// Delays between attempts, in their order. Zero tries again at once.
///
/// # Errors
/// If one of them isn't a duration of whole milliseconds, or if there is none, or too many.
pub fn retry_delays(value: &str) -> Result<RetryDelays, ParseError> {
    let delays: Vec<_> =
        value.split(',').map(|delay| retry_delay(delay.trim())).collect::<Result<_, _>>()?;
    if delays.len() > MAX_RETRY_DELAYS {
        return Err(ParseError::default());
    }
    RetryDelays::new(delays).ok_or_else(ParseError::default)
}

fn retry_delay(value: &str) -> Result<Duration, ParseError> {
    let delay = duration_or_zero(value)?;
    let whole = delay.subsec_nanos() % 1_000_000 == 0;
    if whole && delay <= MAX_RETRY_DELAY { Ok(delay) } else { Err(ParseError::default()) }
}

/// Each type has a queue, and small hosted plans allow a hundred.
const MAX_TYPES: usize = 50;

/// Types of requests, in their order.
///
/// # Errors
/// If one of them can't be a type, or if there is none, or too many.
pub fn request_types(value: &str) -> Result<RequestTypes, ParseError> {
    let types: Result<Vec<_>, _> = value.split(',').map(|name| name.trim().parse()).collect();
    let types = types.ok().and_then(RequestTypes::new);
    types.filter(|types| types.count() <= MAX_TYPES).ok_or_else(ParseError::default)
}

/// `true` or `false`.
///
/// # Errors
/// If it is neither.
pub fn flag(value: &str) -> Result<bool, ParseError> {
    value.parse().map_err(|_| ParseError::default())
}

/// An address to listen on.
///
/// # Errors
/// If it isn't an IP address with a port.
pub fn address(value: &str) -> Result<SocketAddr, ParseError> {
    value.parse().map_err(|_| ParseError::default())
}

/// A URL to send HTTP requests to. It may hold a password.
///
/// # Errors
/// If it isn't one, or has a query or a fragment, to which no path can be added.
pub fn http_url(value: &str) -> Result<Url, ParseError> {
    let url = Url::parse(value).map_err(|error| ParseError::because(error.to_string()))?;
    let plain = url.query().is_none() && url.fragment().is_none();
    let good = matches!(url.scheme(), "http" | "https") && url.has_host() && plain;
    if good { Ok(url) } else { Err(ParseError::default()) }
}

/// The same, where it may hold a password.
///
/// # Errors
/// See [`http_url`].
pub fn secret_http_url(value: &str) -> Result<SecretUrl, ParseError> {
    http_url(value).map(SecretUrl)
}

/// The broker's addresses.
///
/// # Errors
/// If one of them isn't an AMQP URL. The message shows no part of the value.
pub fn addresses(value: &str) -> Result<Vec<Address>, ParseError> {
    let urls = value.split(',').map(str::trim).filter(|url| !url.is_empty());
    let addresses: Vec<_> = urls
        .map(|url| Address::parse(url).map_err(|error| ParseError::because(error.to_string())))
        .collect::<Result<_, _>>()?;
    if addresses.is_empty() { Err(ParseError::default()) } else { Ok(addresses) }
}

/// The kind of queue.
///
/// # Errors
/// If it is neither of the two.
pub fn queue_type(value: &str) -> Result<QueueType, ParseError> {
    match value {
        "quorum" => Ok(QueueType::Quorum),
        "classic" => Ok(QueueType::Classic),
        _ => Err(ParseError::default()),
    }
}

/// A text that is never shown.
///
/// # Errors
/// Never.
pub fn secret(value: &str) -> Result<Secret, ParseError> {
    Ok(Secret(value.to_owned()))
}

/// How log lines look: `text` or `json`.
///
/// # Errors
/// If it is neither.
pub fn log_format(value: &str) -> Result<LogFormat, ParseError> {
    match value {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(ParseError::default()),
    }
}

/// What is logged: a level or a filter in the form of `RUST_LOG`.
///
/// # Errors
/// If it is neither.
pub fn log_filter(value: &str) -> Result<String, ParseError> {
    match tracing_subscriber::EnvFilter::builder().parse(value) {
        Ok(_) => Ok(value.to_owned()),
        Err(error) => Err(ParseError::because(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::variables;

    #[test]
    fn values_need_their_unit() {
        assert_eq!(duration("1m30s").unwrap().as_secs(), 90);
        assert_eq!(size("1MiB").unwrap(), 1 << 20);
        for bad in ["5", "", "-5s", "soon", "00"] {
            assert!(duration(bad).is_err() && duration_or_zero(bad).is_err(), "{bad}");
        }
        assert!(body_limit("16MiB").is_err() && size("much").is_err());
    }

    #[test]
    fn a_duration_can_be_added_to_a_point_in_time() {
        assert!(duration("36500d").is_ok());
        for long in ["36501d", "18446744073709551615s"] {
            let why = duration(long).unwrap_err().detail;
            assert!(why.is_some_and(|why| why == "at most 36500d"), "{long}");
        }
    }

    #[test]
    fn delays_are_whole_milliseconds_in_a_row() {
        let delays = retry_delays("1s, 10s,1ms").unwrap();
        assert_eq!(delays.after(2).as_secs(), 10);
        let many = ["1s"; 21].join(",");
        for bad in ["", "1s,", "1s 2s,x", "500us", "8d", &many] {
            assert!(retry_delays(bad).is_err(), "{bad}");
        }
        assert!(deliveries("19").is_ok() && deliveries("20").is_err());
        assert!(prefetch("64").is_ok() && prefetch("65").is_err());
    }

    #[test]
    fn types_are_names_in_a_row() {
        let types = request_types("default, video-4k,video-4k").unwrap();
        assert_eq!(types.to_string(), "default, video-4k");
        let many: Vec<_> = (0..=MAX_TYPES).map(|number| number.to_string()).collect();
        assert!(request_types(&many[1..].join(",")).is_ok());
        for bad in ["", ",", "a,", "Video", "a b", "a.b", &many.join(",")] {
            assert!(request_types(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn zero_is_taken_where_it_means_something() {
        for zero in ["0", "0s", "0ms"] {
            assert!(duration_or_zero(zero).is_ok_and(|zero| zero.is_zero()), "{zero}");
            assert!(retry_delays(zero).is_ok() && retry_delays(&format!("{zero}, 1s")).is_ok());
            assert!(duration(zero).unwrap_err().detail.is_some_and(|why| why == "not zero"));
        }
        // No worker, no attempt, no delivery: nothing would ever be done.
        assert!(count("0").is_err() && deliveries("0").is_err() && size("0").is_err());
        assert!(prefetch("0").is_err());
    }

    #[test]
    fn several_brokers_are_separated_by_commas() {
        assert_eq!(addresses("amqp://a , amqps://b/v,").unwrap().len(), 2);
        assert!(addresses(",").is_err() && addresses("amqp://a,http://b").is_err());
    }

    #[test]
    fn a_url_is_of_http_and_can_be_added_to() {
        assert!(http_url("https://u:p@a.example/slowlane/").is_ok());
        for bad in ["127.0.0.1:3000", "amqp://a", "http://", "http://a?b", "http://a/#b", "a"] {
            assert!(http_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_default_is_good() {
        let good = |variable: &variables::Variable| {
            let default = variable.default?;
            Some(match variable.name {
                // What may stand there is the store's to know, and the processor's.
                "DATABASE_URL" | "PROCESSOR" => return None,
                "AMQP_URL" => addresses(default).is_ok(),
                "QUEUE_TYPE" => queue_type(default).is_ok(),
                "HTTP_ADDR" => address(default).is_ok(),
                "SLOWLANE_URL" => http_url(default).is_ok(),
                "ALLOW_ANONYMOUS" | "CALLBACK_ALLOW_PRIVATE" | "COMMAND_POOL" => {
                    flag(default).is_ok()
                }
                "BODY_LIMIT" | "RESULT_LIMIT" => body_limit(default).is_ok(),
                "TYPES" => request_types(default).is_ok(),
                "WORKERS" | "MAX_ATTEMPTS" => count(default).is_ok(),
                "RETRY_DELAYS" => retry_delays(default).is_ok(),
                "PREFETCH" => prefetch(default).is_ok(),
                "MAX_DELIVERIES" => deliveries(default).is_ok(),
                "RUST_LOG" => log_filter(default).is_ok(),
                "LOG_FORMAT" => log_format(default).is_ok(),
                "PROCESSING_DELAY" | "DRAIN_TIMEOUT" => duration_or_zero(default).is_ok(),
                _ => duration(default).is_ok(),
            })
        };
        for variable in variables::ALL {
            assert_ne!(good(variable), Some(false), "{}", variable.name);
        }
    }
}
