//! Requests and times for the tests of the decisions, and a look into what is published.

use std::time::{Duration, SystemTime};

use pipeline::contract::{HeaderValue, Message, Properties};

use crate::decisions::incoming::IncomingRequest;

/// The time at which decisions are made.
pub(super) const AT: SystemTime = SystemTime::UNIX_EPOCH;
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// A header of a message that is a number.
pub(super) fn number(message: &Message, name: &str) -> Option<i64> {
    message.properties.headers.number(name)
}

/// Properties with these headers.
pub(super) fn properties(headers: &[(&str, HeaderValue)]) -> Properties {
    let headers = headers.iter().map(|(name, value)| (*name, value.clone()));
    Properties { headers: headers.collect(), ..Properties::default() }
}

/// A redelivered request.
pub(super) fn request(properties: &Properties) -> IncomingRequest<'_> {
    IncomingRequest { routing_key: "request.big", properties, body: b"{}", redelivered: true }
}

/// A request that is delivered for the first time.
pub(super) fn fresh(properties: &Properties) -> IncomingRequest<'_> {
    IncomingRequest { redelivered: false, ..request(properties) }
}
