//! Request messages, from the web service or a foreign producer to the workers.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::contract::{
    headers::{self, Headers},
    id::RequestId,
    json::{object, present},
    lenient_id,
    malformed::Malformed,
    message::{Message, Properties},
    trace::TraceParent,
};
use crate::topology::{self, RequestType};

/// A request: `{"requestId": ..., "requestData": ...}`.
#[derive(Debug, Clone)]
pub struct Request {
    /// The request's id and idempotency key: a request may be delivered more than once.
    pub id: RequestId,
    /// The data to process, unchanged.
    pub data: Box<RawValue>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default, rename = "requestId", deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "requestData", deserialize_with = "present")]
    data: Option<&'a RawValue>,
}

impl Request {
    /// Reads a request from a message body.
    ///
    /// # Errors
    /// [`Malformed`] with the reason, and with the id if that much could be read.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let no_id = |reason| Malformed { reason, id: None };
        let wire: Wire<'_> = object(body).map_err(|error| Malformed {
            reason: format!("the body is not a request: {error}"),
            id: lenient_id::find(body),
        })?;
        let id = wire.id.ok_or_else(|| no_id("the body has no requestId".to_owned()))?;
        let id = RequestId::parse(id).map_err(|error| no_id(error.to_string()))?;
        match wire.data {
            Some(data) => Ok(Self { id, data: data.to_owned() }),
            None => {
                Err(Malformed { reason: "the body has no requestData".to_owned(), id: Some(id) })
            }
        }
    }

    /// The body of a request, exactly `{"requestId":...,"requestData":...}`.
    pub fn body(id: &RequestId, data: &RawValue) -> Vec<u8> {
        let mut body = Vec::with_capacity(id.json().len() + data.get().len() + 32);
        body.extend_from_slice(b"{\"requestId\":");
        body.extend_from_slice(id.json().as_bytes());
        body.extend_from_slice(b",\"requestData\":");
        body.extend_from_slice(data.get().as_bytes());
        body.push(b'}');
        body
    }

    /// The message of a new request of this type.
    pub fn message(
        id: &RequestId,
        request_type: &RequestType,
        data: &RawValue,
        trace: &TraceParent,
    ) -> Message {
        let mut properties = Properties::json("request", id);
        properties.headers.set(headers::ATTEMPT, 1);
        properties.headers.set(headers::RUN, 0);
        properties.headers.set_request_type(request_type);
        properties.headers.set(headers::TRACEPARENT, trace.as_str());
        Message {
            exchange: topology::EXCHANGE.into(),
            routing_key: request_type.routing_key(),
            properties,
            body: Self::body(id, data),
        }
    }

    /// The message to the failed queue for a message that can't be processed: the same body, our headers,
    /// and the reason.
    pub fn failed(original: &Properties, body: Vec<u8>, reason: &str, error: &str) -> Message {
        let mut headers = Headers::to_publish_again(&original.headers);
        headers.set_short(headers::REASON, reason);
        headers.set_short(headers::ERROR, error);
        let id = |text: &Option<String>| {
            text.clone().filter(|text| text.len() <= crate::contract::id::MAX_ID_BYTES)
        };
        Message {
            exchange: topology::EXCHANGE.into(),
            routing_key: topology::KEY_FAILED.to_owned(),
            properties: Properties {
                content_type: original.content_type.clone(),
                message_id: id(&original.message_id),
                correlation_id: id(&original.correlation_id),
                timestamp: Some(crate::contract::message::seconds_since_1970()),
                app_id: None,
                kind: Some("failed".into()),
                persistent: true,
                expiration: None,
                headers,
            },
            body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_and_id_survive_untouched() {
        let body = r#"{"requestId":42,"requestData":{"b":1e400,"a":12345678901234567890.10,"ü":"\u00fc"}}"#;
        let request = Request::parse(body.as_bytes()).unwrap();
        assert_eq!(Request::body(&request.id, &request.data), body.as_bytes());
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let request = Request::parse(br#"{"v":2,"requestData":null,"requestId":"x"}"#).unwrap();
        assert_eq!((request.id.text(), request.data.get()), ("x", "null"));
    }

    #[test]
    fn a_malformed_body_says_why_and_keeps_its_id() {
        let cases: [(&[u8], &str, Option<&str>); 6] = [
            (b"", "not a request", None),
            (b"\xff\xfe", "not a request", None),
            (b"[]", "not a request", None),
            (b"{\"requestData\":1}", "no requestId", None),
            (b"{\"requestId\":null,\"requestData\":1}", "string or a number", None),
            (b"{\"requestId\":7}", "no requestData", Some("7")),
        ];
        for (body, reason, id) in cases {
            let malformed = Request::parse(body).unwrap_err();
            assert!(malformed.reason.contains(reason), "{malformed}");
            assert_eq!(malformed.id.as_ref().map(RequestId::text), id);
        }
    }
}
