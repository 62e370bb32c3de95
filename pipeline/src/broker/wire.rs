//! Conversion of messages between our types and the AMQP client's, with checks of AMQP's limits.

use std::{borrow::Cow, time::Duration};

use amqprs::{BasicProperties, FieldTable, FieldValue};

use crate::contract::{
    headers,
    headers::{HeaderValue, Headers},
    message::{JSON, Message, Properties},
};
use crate::topology::objects::Argument;

/// The longest text in AMQP's short string fields.
const MAX_SHORT_STRING_BYTES: usize = 255;
/// The size of a message's headers at most, well below the smallest frame brokers agree on (128 KiB): the
/// client doesn't split header frames.
const MAX_HEADERS_BYTES: usize = 100 * 1024;
/// The longest `expiration` that RabbitMQ takes: 49.7 days.
const MAX_EXPIRATION: Duration = Duration::from_millis(u32::MAX as u64);

/// Checks what the client would panic on or the broker would close the connection for.
pub(super) fn check(message: &Message) -> Result<(), String> {
    let properties = &message.properties;
    let short = [
        ("exchange", Some(&*message.exchange)),
        ("routing key", Some(message.routing_key.as_str())),
        ("content_type", properties.content_type.as_deref()),
        ("message_id", properties.message_id.as_deref()),
        ("correlation_id", properties.correlation_id.as_deref()),
        ("type", properties.kind.as_deref()),
    ];
    for (what, text) in short {
        if text.is_some_and(|text| text.len() > MAX_SHORT_STRING_BYTES) {
            return Err(format!("the {what} is longer than {MAX_SHORT_STRING_BYTES} bytes"));
        }
    }
    if properties.headers.iter().any(|(name, _)| name.len() > MAX_SHORT_STRING_BYTES) {
        return Err(format!("a header's name is longer than {MAX_SHORT_STRING_BYTES} bytes"));
    }
    let total: usize =
        properties.headers.iter().map(|(name, value)| name.len() + size(value)).sum();
    if total > MAX_HEADERS_BYTES {
        return Err(format!(
            "the headers take {total} bytes, at most {MAX_HEADERS_BYTES} are sent"
        ));
    }
    Ok(())
}

fn size(value: &HeaderValue) -> usize {
    match value {
        HeaderValue::Text(text) => text.len() + 6,
        HeaderValue::Number(_) | HeaderValue::Other => 10,
    }
}

/// The properties as they are sent, with the publishing program as `app_id`.
pub(super) fn to_wire(properties: &Properties, program: &str) -> BasicProperties {
    let mut wire = BasicProperties::default();
    wire.with_app_id(program);
    wire.with_persistence(properties.persistent);
    if let Some(text) = &properties.content_type {
        wire.with_content_type(text);
    }
    if let Some(text) = &properties.message_id {
        wire.with_message_id(text);
    }
    if let Some(text) = &properties.correlation_id {
        wire.with_correlation_id(text);
    }
    if let Some(seconds) = properties.timestamp {
        wire.with_timestamp(seconds);
    }
    if let Some(text) = &properties.kind {
        wire.with_message_type(text);
    }
    // The broker would close the channel for a longer one. It can be left out, since such a message
    // also has the header `slowlane-expires-at`.
    if let Some(time) = properties.expiration.filter(|time| *time <= MAX_EXPIRATION) {
        wire.with_expiration(&time.as_millis().to_string());
    }
    wire.with_headers(headers_to_wire(&properties.headers));
    wire
}

fn headers_to_wire(headers: &Headers) -> FieldTable {
    let mut table = FieldTable::new();
    for (name, value) in headers.iter() {
        let value = match value {
            HeaderValue::Text(text) => FieldValue::from(text.as_str()),
            HeaderValue::Number(number) => FieldValue::l(*number),
            HeaderValue::Other => continue,
        };
        if let Ok(name) = name.try_into() {
            table.insert(name, value);
        }
    }
    table
}

pub(super) fn from_wire(wire: &BasicProperties) -> Properties {
    Properties {
        content_type: wire.content_type().map(|text| match text.as_str() {
            JSON => JSON.into(),
            other => other.to_owned().into(),
        }),
        message_id: wire.message_id().cloned(),
        correlation_id: wire.correlation_id().cloned(),
        timestamp: wire.timestamp(),
        app_id: wire.app_id().cloned(),
        kind: wire.message_type().cloned().map(Cow::Owned),
        expiration: wire.expiration().and_then(|text| text.parse().ok()).map(Duration::from_millis),
        persistent: wire.delivery_mode() == Some(amqprs::DELIVERY_MODE_PERSISTENT),
        headers: wire.headers().map(headers_from_wire).unwrap_or_default(),
    }
}

fn headers_from_wire(table: &FieldTable) -> Headers {
    let all = table.as_ref().iter();
    let mut kept: Headers =
        all.map(|(name, value)| (name.as_ref().as_str(), value_from_wire(value))).collect();
    if let Some(FieldValue::A(deaths)) = get(table, headers::DEATHS)
        && kept.text(headers::LAST_DEATH_REASON).is_none()
        && let Some(FieldValue::F(last)) = Vec::from(deaths.clone()).first()
    {
        for (name, of) in
            [(headers::LAST_DEATH_REASON, "reason"), (headers::LAST_DEATH_QUEUE, "queue")]
        {
            if let Some(value) = get(last, of) {
                kept.set(name, value_from_wire(value));
            }
        }
    }
    kept
}

fn get<'t>(table: &'t FieldTable, wanted: &str) -> Option<&'t FieldValue> {
    table.as_ref().iter().find(|(name, _)| name.as_ref() == wanted).map(|(_, value)| value)
}

fn value_from_wire(value: &FieldValue) -> HeaderValue {
    match value {
        FieldValue::S(text) => HeaderValue::Text(text.as_ref().clone()),
        FieldValue::b(number) => HeaderValue::Number((*number).into()),
        FieldValue::B(number) => HeaderValue::Number((*number).into()),
        FieldValue::s(number) => HeaderValue::Number((*number).into()),
        FieldValue::u(number) => HeaderValue::Number((*number).into()),
        FieldValue::I(number) => HeaderValue::Number((*number).into()),
        FieldValue::i(number) => HeaderValue::Number((*number).into()),
        FieldValue::l(number) => HeaderValue::Number(*number),
        _ => HeaderValue::Other,
    }
}

pub(super) fn arguments_to_wire(arguments: &[(&'static str, Argument)]) -> FieldTable {
    let mut table = FieldTable::new();
    for (name, value) in arguments {
        let value = match value {
            Argument::Text(text) => FieldValue::from(*text),
            Argument::Number(number) => FieldValue::l(*number),
        };
        table.insert((*name).try_into().expect("the names in the topology are short"), value);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            exchange: "x".into(),
            routing_key: "k".into(),
            properties: Properties::default(),
            body: vec![],
        }
    }

    #[test]
    fn properties_survive_the_way_through_the_client() {
        let mut properties = Properties {
            content_type: Some("application/json".into()),
            message_id: Some("m".into()),
            timestamp: Some(7),
            app_id: Some("web-service".into()),
            persistent: true,
            ..Properties::default()
        };
        properties.headers.set("slowlane-attempt", 3);
        properties.headers.set("traceparent", "00");
        assert_eq!(from_wire(&to_wire(&properties, "web-service")), properties);
    }

    #[test]
    fn an_expiration_that_the_broker_would_refuse_is_left_out() {
        let expiring = |millis| {
            let expiration = Some(Duration::from_millis(millis));
            let properties = Properties { expiration, ..Properties::default() };
            from_wire(&to_wire(&properties, "web-service")).expiration
        };
        assert_eq!(expiring(4_294_967_295), Some(MAX_EXPIRATION));
        assert_eq!(expiring(4_294_967_296), None);
    }

    fn death(reason: &str, queue: &str) -> FieldValue {
        let mut table = FieldTable::new();
        for (name, value) in [("reason", reason), ("queue", queue)] {
            table.insert(name.try_into().unwrap(), value.into());
        }
        table.into()
    }

    #[test]
    fn of_all_deaths_the_last_can_be_read() {
        let deaths = vec![death("delivery_limit", "requests"), death("expired", "retry")];
        let mut table = FieldTable::new();
        let name = |name: &str| name.try_into().unwrap();
        table.insert(name("x-death"), FieldValue::A(deaths.try_into().unwrap()));
        let last = |table: &FieldTable| {
            let headers = headers_from_wire(table);
            [headers::LAST_DEATH_REASON, headers::LAST_DEATH_QUEUE]
                .map(|name| headers.text(name).unwrap().to_owned())
        };
        assert_eq!(last(&table), ["delivery_limit", "requests"]);
        // A broker that says it itself is believed.
        table.insert(name("x-last-death-reason"), "rejected".into());
        table.insert(name("x-last-death-queue"), "results".into());
        assert_eq!(last(&table), ["rejected", "results"]);
        for strange in [FieldValue::A(vec![].try_into().unwrap()), FieldValue::V, "x".into()] {
            let mut table = FieldTable::new();
            table.insert(name("x-death"), strange);
            assert_eq!(headers_from_wire(&table).text(headers::LAST_DEATH_REASON), None);
        }
    }

    #[test]
    fn what_the_client_would_panic_on_is_refused() {
        assert_eq!(check(&message()), Ok(()));
        let mut long = message();
        long.properties.message_id = Some("x".repeat(256));
        assert!(check(&long).unwrap_err().contains("message_id"));
        let mut long = message();
        long.properties.headers.set("x".repeat(256), 1);
        assert!(check(&long).is_err());
        let mut large = message();
        large.properties.headers.set("slowlane-error", "x".repeat(MAX_HEADERS_BYTES));
        assert!(check(&large).unwrap_err().contains("at most"));
    }
}
