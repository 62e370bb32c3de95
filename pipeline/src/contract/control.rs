//! Control messages: commands to all programs of the virtual host.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::contract::{
    id::RequestId,
    json::{object, present},
    malformed::Malformed,
    message::{Message, Properties},
};
use crate::topology;

/// A command to all programs. Programs that it doesn't concern ignore it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// `{"type":"cancel","requestId":...,"run"?}`: the worker of this request should stop. With a run,
    /// only if it works on that run or an earlier one: a replay may have begun meanwhile.
    Cancel(RequestId, Option<i64>),
    /// `{"type":"who"}`: every worker should publish an event for each request it works on.
    Who,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow, default, rename = "requestId", deserialize_with = "present")]
    id: Option<&'a RawValue>,
    run: Option<i64>,
}

impl Control {
    /// Reads a control message; `None` if its type is unknown.
    ///
    /// # Errors
    /// [`Malformed`] if the body has no type, or lacks what belongs to its type.
    pub fn parse(body: &[u8]) -> Result<Option<Self>, Malformed> {
        let malformed = |error| Malformed::new(format!("the body is no control message: {error}"));
        let wire: Wire<'_> = object(body).map_err(malformed)?;
        match (wire.kind.as_str(), wire.id) {
            ("who", _) => Ok(Some(Self::Who)),
            ("cancel", Some(id)) => {
                let id = RequestId::parse(id).map_err(|error| malformed(error.to_string()))?;
                Ok(Some(Self::Cancel(id, wire.run)))
            }
            ("cancel", None) => Err(malformed("it has no requestId".to_owned())),
            _ => Ok(None),
        }
    }

    /// The message that is published to all programs.
    pub fn message(&self) -> Message {
        let (kind, id, body) = match self {
            Self::Cancel(id, run) => {
                let run = run.map(|run| format!(",\"run\":{run}")).unwrap_or_default();
                let body = format!("{{\"type\":\"cancel\",\"requestId\":{}{run}}}", id.json());
                ("cancel", Some(id), body)
            }
            Self::Who => ("who", None, r#"{"type":"who"}"#.to_owned()),
        };
        Message {
            exchange: topology::CONTROL.into(),
            routing_key: kind.to_owned(),
            properties: Properties::transient(kind, id),
            body: body.into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages_survive_the_way() {
        for body in [
            r#"{"type":"who"}"#,
            r#"{"type":"cancel","requestId":4.20}"#,
            r#"{"type":"cancel","requestId":"me","run":3}"#,
        ] {
            let control = Control::parse(body.as_bytes()).unwrap().unwrap();
            let message = control.message();
            assert_eq!(String::from_utf8(message.body).unwrap(), body);
            assert_eq!(
                (&*message.exchange, message.properties.persistent),
                ("processing.control", false)
            );
        }
    }

    #[test]
    fn unknown_types_and_fields_are_ignored_and_the_rest_is_malformed() {
        assert_eq!(Control::parse(br#"{"type":"dance","requestId":[]}"#).unwrap(), None);
        assert_eq!(Control::parse(br#"{"type":"who","why":1}"#).unwrap(), Some(Control::Who));
        for body in ["", "\"who\"", "{}", r#"{"type":7}"#, r#"{"type":"cancel"}"#, "[\"who\"]"] {
            assert!(Control::parse(body.as_bytes()).is_err(), "{body}");
        }
        assert!(Control::parse(br#"{"type":"cancel","requestId":null}"#).is_err());
    }
}
