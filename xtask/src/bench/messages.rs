//! Messages that the bench sends itself: bodies of requests, and results to be stored.

use std::time::SystemTime;

use testbed::foreign::{
    AMQPValue, Properties, arguments,
    types::{FieldTable, ShortString},
};
use uuid::Uuid;

const DATA_BYTES: usize = 200;
/// Any time will do for the start and end of the work.
const WORK_TIME: &str = "2025-01-01T00:00:00.000Z";

pub(super) const EXCHANGE: &str = "processing";
pub(super) const REQUESTS: &str = "processing.requests";
pub(super) const RESULTS: &str = "processing.results";

/// The body of a POST.
pub(super) fn body() -> String {
    format!("{{\"data\":{}}}", data())
}

/// A result of a request as a processor publishes it.
pub(super) fn result(id: Uuid) -> (Properties, Vec<u8>) {
    let body = format!("{{\"requestId\":\"{id}\",\"processingResults\":{}}}", data());
    let headers = arguments([
        ("slowlane-attempt", AMQPValue::LongLongInt(1)),
        ("slowlane-deliveries", AMQPValue::LongLongInt(1)),
        ("slowlane-finished-at", text(WORK_TIME)),
        ("slowlane-started-at", text(WORK_TIME)),
        ("slowlane-worker", text("host:12345/1")),
        ("traceparent", text(&trace(id))),
    ]);
    (properties("result", "processor-service", id, headers), body.into_bytes())
}

fn properties(kind: &str, program: &str, id: Uuid, headers: FieldTable) -> Properties {
    let id = ShortString::from(id.to_string());
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Properties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(2)
        .with_message_id(id.clone())
        .with_correlation_id(id)
        .with_timestamp(since.as_secs())
        .with_app_id(program.into())
        .with_type(kind.into())
        .with_headers(headers)
}

fn data() -> String {
    format!("\"{}\"", "x".repeat(DATA_BYTES))
}

fn trace(id: Uuid) -> String {
    format!("00-{}-0123456789abcdef-01", id.simple())
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}
