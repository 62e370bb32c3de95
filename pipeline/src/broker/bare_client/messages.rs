//! What is sent: messages with all that the contract says, and 200 bytes of data.

use std::time::SystemTime;

use amqprs::{BasicProperties, FieldTable, FieldValue};
use uuid::Uuid;

const DATA: &str = "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"";
/// When the work was done is of no importance here.
const MOMENT: &str = "2025-01-01T00:00:00.000Z";

pub(crate) struct Message {
    pub(crate) key: &'static str,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Vec<u8>,
}

/// A request as the web service publishes it.
pub(crate) fn request() -> Message {
    let id = Uuid::now_v7();
    let body = format!("{{\"requestId\":\"{id}\",\"requestData\":{DATA}}}").into_bytes();
    let properties = properties("request", "web-service", id, headers(id));
    Message { key: "request", properties, body }
}

/// A result as a processor publishes it.
pub(crate) fn result() -> Message {
    let id = Uuid::now_v7();
    let body = format!("{{\"requestId\":\"{id}\",\"processingResults\":{DATA}}}").into_bytes();
    let mut headers = headers(id);
    set(&mut headers, "slowlane-attempt", FieldValue::l(1));
    set(&mut headers, "slowlane-deliveries", FieldValue::l(1));
    set(&mut headers, "slowlane-finished-at", FieldValue::from(MOMENT));
    set(&mut headers, "slowlane-started-at", FieldValue::from(MOMENT));
    set(&mut headers, "slowlane-worker", FieldValue::from("host:12345/1"));
    let properties = properties("result", "processor-service", id, headers);
    Message { key: "result", properties, body }
}

fn headers(id: Uuid) -> FieldTable {
    let mut headers = FieldTable::new();
    let trace = format!("00-{}-0123456789abcdef-01", id.simple());
    set(&mut headers, "traceparent", FieldValue::from(trace.as_str()));
    headers
}

fn set(headers: &mut FieldTable, name: &str, value: FieldValue) {
    if let Ok(name) = name.try_into() {
        headers.insert(name, value);
    }
}

fn properties(kind: &str, program: &str, id: Uuid, headers: FieldTable) -> BasicProperties {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let id = id.to_string();
    let mut properties = BasicProperties::default();
    properties
        .with_persistence(true)
        .with_content_type("application/json")
        .with_message_id(&id)
        .with_correlation_id(&id)
        .with_timestamp(since.as_secs())
        .with_app_id(program)
        .with_message_type(kind)
        .with_headers(headers);
    properties
}
