//! Requests for the tests of the decisions.

use pipeline::contract::{HeaderValue, Properties};

use crate::decisions::incoming::IncomingRequest;

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
