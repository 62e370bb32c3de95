//! Request id: a JSON string or number, which keeps its text in all programs.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::value::RawValue;
use uuid::Uuid;

/// The longest id a request may have, in bytes of its text.
///
/// It is carried in the AMQP properties `message_id` and `correlation_id`, which take 255 bytes.
pub const MAX_ID_BYTES: usize = 200;

/// A request's id, exactly as it came: a JSON string or a JSON number.
///
/// Our own ids are UUIDs (version 7). A foreign producer may use others, and gets back the same text. Two ids are equal when their texts are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId {
    json: Box<str>,
    text: Box<str>,
}

/// Why a JSON value is not a request's id.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRequestId {
    /// A string that has no text, such as a lone surrogate.
    #[error("requestId is not a readable string: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// Neither a string nor a number.
    #[error("requestId must be a string or a number")]
    WrongType,
    /// So many bytes, more than [`MAX_ID_BYTES`].
    #[error("requestId has {0} bytes, at most {MAX_ID_BYTES} are taken")]
    TooLong(usize),
}

impl RequestId {
    /// Parses an id from its JSON text.
    ///
    /// # Errors
    /// [`InvalidRequestId`] if it is neither string nor number, or longer than [`MAX_ID_BYTES`].
    pub fn parse(raw: &RawValue) -> Result<Self, InvalidRequestId> {
        let text = match raw.get().as_bytes().first() {
            Some(b'"') => serde_json::from_str::<Cow<'_, str>>(raw.get())?,
            Some(b'-' | b'0'..=b'9') => Cow::Borrowed(raw.get()),
            _ => return Err(InvalidRequestId::WrongType),
        };
        if text.len() > MAX_ID_BYTES {
            return Err(InvalidRequestId::TooLong(text.len()));
        }
        Ok(Self { json: raw.get().into(), text: text.into() })
    }

    /// The id as it stands in a JSON body: with quotes, if it is a string.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The id as text, as it stands in `message_id`, in logs and in paths.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether both name the same request: with the same text, or as the same UUID, which may be spelled in
    /// upper case too. The web services know a UUID alone.
    pub fn names_same_request(&self, other: &Self) -> bool {
        self == other || self.uuid().is_some_and(|id| other.uuid() == Some(id))
    }

    /// The id as a UUID, if it is one in the form that we hand out.
    pub fn uuid(&self) -> Option<Uuid> {
        if self.json.starts_with('"') { Uuid::try_parse(&self.text).ok() } else { None }
    }
}

impl From<Uuid> for RequestId {
    fn from(id: Uuid) -> Self {
        let mut digits = Uuid::encode_buffer();
        let text: &str = id.hyphenated().encode_lower(&mut digits);
        Self { json: ["\"", text, "\""].concat().into(), text: text.into() }
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.json).map_err(serde::ser::Error::custom)?;
        raw.serialize(to)
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(<&RawValue>::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<RequestId, InvalidRequestId> {
        RequestId::parse(&RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn numbers_and_strings_keep_their_text() {
        for json in ["42", "-1.50e400", r#""a\u00e4b""#, r#""""#] {
            assert_eq!(parse(json).unwrap().json(), json);
        }
        assert_eq!(parse(r#""a\u00e4b""#).unwrap().text(), "aäb");
    }

    #[test]
    fn everything_else_is_refused_with_a_reason() {
        for json in ["null", "true", "{}", "[1]", r#""\ud800""#] {
            assert!(parse(json).unwrap_err().to_string().starts_with("requestId"), "{json}");
        }
        let long = format!("\"{}\"", "x".repeat(300));
        assert!(parse(&long).unwrap_err().to_string().contains("300 bytes"));
    }

    #[test]
    fn a_uuid_names_the_same_request_however_it_is_spelled() {
        let id = Uuid::now_v7();
        let upper = parse(&format!("\"{}\"", id.to_string().to_uppercase())).unwrap();
        assert!(upper.names_same_request(&id.into()) && RequestId::from(id) != upper);
        assert!(parse("\"A\"").unwrap().names_same_request(&parse("\"A\"").unwrap()));
        assert!(!parse("\"A\"").unwrap().names_same_request(&parse("\"a\"").unwrap()));
        assert!(!upper.names_same_request(&Uuid::now_v7().into()));
    }

    #[test]
    fn only_strings_are_uuids() {
        let id = Uuid::now_v7();
        assert_eq!(RequestId::from(id).uuid(), Some(id));
        assert_eq!(parse("12345678123456781234567812345678").unwrap().uuid(), None);
    }
}
