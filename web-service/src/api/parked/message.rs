//! A parked message as JSON.

use std::str;

use base64::{Engine, engine::general_purpose::STANDARD};
use pipeline::contract::{Timestamp, headers};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;
use uuid::Uuid;

use store::ParkedMessage;

/// A message that nobody could process.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ParkedMessage)]
pub(crate) struct ParkedMessageView {
    number: i64,
    /// The request that it belongs to, if it names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = "uuid")]
    request_id: Option<Uuid>,
    /// The run of the request that it belongs to.
    run: u32,
    /// For programs: why it was given up, as in the `error.code` of a request.
    reason: String,
    /// For people.
    error: String,
    #[schema(value_type = String, format = DateTime)]
    received_at: Timestamp,
    /// Its headers that are Slowlane's own.
    #[schema(value_type = Object)]
    headers: Box<RawValue>,
    /// The length of the body in bytes.
    size: u64,
    /// The body, if it is text; in a list its first 1000 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    text: Option<String>,
    /// The body, if it is not text; in a list its first 1000 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, content_encoding = "base64")]
    base64: Option<String>,
}

impl From<ParkedMessage> for ParkedMessageView {
    fn from(message: ParkedMessage) -> Self {
        let text = text(&message.body, message.size).map(str::to_owned);
        let base64 = text.is_none().then(|| STANDARD.encode(&message.body));
        Self {
            number: message.number,
            request_id: message.request,
            run: run(&message.headers),
            reason: message.reason,
            error: message.error,
            received_at: message.received_at,
            headers: RawValue::from_string(message.headers).unwrap_or_default(),
            size: message.size,
            text,
            base64,
        }
    }
}

/// The body as text, if it is text. A body that was cut, so that it is shorter than `size`, may end within
/// a character.
fn text(body: &[u8], size: u64) -> Option<&str> {
    match str::from_utf8(body) {
        Ok(text) => Some(text),
        Err(error) => {
            let is_cut = error.error_len().is_none() && (body.len() as u64) < size;
            let valid = &body[..error.valid_up_to()];
            is_cut.then(|| str::from_utf8(valid).ok()).flatten()
        }
    }
}

/// The run that the headers of a message name. The headers are a JSON object.
fn run(json: &str) -> u32 {
    let json: Value = serde_json::from_str(json).unwrap_or_default();
    let run = match &json[headers::RUN] {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    run.and_then(|run| u32::try_from(run).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_text_or_base64() {
        assert_eq!(text("grün".as_bytes(), 5), Some("grün"));
        let cut = &"grün".as_bytes()[..3];
        assert_eq!((text(cut, 5), text(cut, 3)), (Some("gr"), None));
        assert_eq!(text(b"\xffabc", 9), None);
    }

    #[test]
    fn the_run_is_read_from_the_headers() {
        assert_eq!(run(r#"{"slowlane-run":3}"#), 3);
        assert_eq!(run(r#"{"slowlane-run":"4"}"#), 4);
        for none in ["{}", "", r#"{"slowlane-run":-1}"#, r#"{"slowlane-run":null}"#] {
            assert_eq!(run(none), 0, "{none}");
        }
    }
}
