//! Result messages: a worker's result or error.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::contract::{
    headers::Headers,
    id::RequestId,
    json::{object, or_default, present},
    lenient_id,
    malformed::Malformed,
    message::{Message, Properties},
    shortened,
};
use crate::topology;

/// A result: `{"requestId": ..., "processingResults": ...}`, or with `"error"` instead.
#[derive(Debug, Clone)]
pub struct ResultMessage {
    /// The request's id.
    pub id: RequestId,
    /// How the work ended.
    pub outcome: Outcome,
}

/// How the work on a request ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// With this result, as the worker wrote it.
    Completed(Box<RawValue>),
    /// With this error.
    Failed(ErrorBody),
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// A word that programs can branch on, see [`codes`](crate::contract::codes).
    pub code: String,
    /// A sentence for people.
    #[serde(default, deserialize_with = "or_default")]
    pub message: String,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default, rename = "requestId", deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "processingResults", deserialize_with = "present")]
    results: Option<&'a RawValue>,
    error: Option<ErrorBody>,
}

impl ResultMessage {
    /// Reads a result from a message body.
    ///
    /// # Errors
    /// [`Malformed`] with the reason, and with the id if that much could be read.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let no_id = |reason| Malformed { reason, id: None };
        let wire: Wire<'_> = object(body).map_err(|error| Malformed {
            reason: format!("the body is not a result: {error}"),
            id: lenient_id::find(body),
        })?;
        let id = wire.id.ok_or_else(|| no_id("the body has no requestId".to_owned()))?;
        let id = RequestId::parse(id).map_err(|error| no_id(error.to_string()))?;
        let outcome = match (wire.error, wire.results) {
            (Some(error), None) => Outcome::Failed(error),
            (None, Some(results)) => Outcome::Completed(results.to_owned()),
            (both, _) => {
                let count = if both.is_some() { "both" } else { "neither" };
                let reason = format!("the body has {count} of processingResults and error");
                return Err(Malformed { reason, id: Some(id) });
            }
        };
        Ok(Self { id, outcome })
    }

    /// The body of this result.
    pub fn body(&self) -> Vec<u8> {
        let (field, value) = match &self.outcome {
            Outcome::Completed(results) => ("processingResults", results.get().to_owned()),
            Outcome::Failed(error) => ("error", error.to_json()),
        };
        format!("{{\"requestId\":{},\"{field}\":{value}}}", self.id.json()).into_bytes()
    }

    /// The message of this result, with the given headers.
    pub fn message(&self, headers: Headers) -> Message {
        Message {
            exchange: topology::EXCHANGE.into(),
            routing_key: topology::KEY_RESULT.to_owned(),
            properties: Properties { headers, ..Properties::json("result", &self.id) },
            body: self.body(),
        }
    }
}

impl ErrorBody {
    /// The longest code in bytes.
    pub const MAX_CODE_BYTES: usize = 200;
    /// The longest message in bytes. Lists show the messages of many requests, and a broker refuses what is too long.
    pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

    /// An error with its code and message.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }

    /// The same error without what is too long: the end of the code, and the middle of the message.
    #[must_use]
    pub fn shortened(mut self) -> Self {
        self.code.truncate(self.code.floor_char_boundary(Self::MAX_CODE_BYTES));
        if self.message.len() > Self::MAX_MESSAGE_BYTES {
            self.message = shortened(&self.message, Self::MAX_MESSAGE_BYTES).into_owned();
        }
        self
    }

    /// The error as JSON text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("two strings are always JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_and_errors_survive_the_way() {
        for body in [
            r#"{"requestId":"a","processingResults":{"n":1e400}}"#,
            r#"{"requestId":1,"processingResults":null}"#,
            r#"{"requestId":"a","error":{"code":"permanent","message":"no"}}"#,
        ] {
            let result = ResultMessage::parse(body.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(result.body()).unwrap(), body);
        }
    }

    #[test]
    fn a_result_is_one_of_two_things() {
        let neither = ResultMessage::parse(br#"{"requestId":"a"}"#).unwrap_err();
        assert!(neither.reason.contains("neither"));
        let both = br#"{"requestId":"a","processingResults":1,"error":{"code":"x"}}"#;
        assert!(ResultMessage::parse(both).unwrap_err().reason.contains("both"));
    }

    #[test]
    fn an_error_needs_only_its_code() {
        let body = br#"{"requestId":"a","error":{"code":"teapot","detail":7}}"#;
        let Outcome::Failed(error) = ResultMessage::parse(body).unwrap().outcome else { panic!() };
        assert_eq!(error, ErrorBody::new("teapot", ""));
    }
}
