//! Control messages: commands to all programs of the virtual host.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::contract::{
    execution::Execution,
    id::RequestId,
    json::{object, present},
    malformed::Malformed,
    message::{Message, Properties},
};
use crate::topology;

/// A command or question to all programs. Programs that it doesn't concern ignore it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// `{"type":"cancel","requestId":...,"run"?}`: the worker of this request should stop. With a run,
    /// only if it works on that run or an earlier one: a replay may have begun meanwhile.
    Cancel(RequestId, Option<i64>),
    /// `{"type":"who"}`: every worker should publish an event for each request it works on.
    Who,
    /// `{"type":"who-had","requestId","run","attempt","survived","process"}`: every process to which this was
    /// delivered should say how often; the one that asks answers in any case.
    WhoHad {
        /// What is asked about.
        execution: Execution,
        /// The process that asks.
        process: String,
    },
    /// `{"type":"had","requestId","run","attempt","survived","process","times"}`: the answer.
    Had {
        /// What was asked about.
        execution: Execution,
        /// The process that answers.
        process: String,
        /// How often it was delivered to the process, which has not died since.
        times: i64,
    },
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow, default, rename = "requestId", deserialize_with = "present")]
    id: Option<&'a RawValue>,
    run: Option<i64>,
    #[serde(default)]
    attempt: i64,
    #[serde(default)]
    survived: i64,
    #[serde(default)]
    process: String,
    #[serde(default)]
    times: i64,
}

impl Control {
    /// Reads a control message; `None` if its type is unknown.
    ///
    /// # Errors
    /// [`Malformed`] if the body has no type, or lacks what belongs to its type.
    pub fn parse(body: &[u8]) -> Result<Option<Self>, Malformed> {
        let malformed = |error| Malformed::new(format!("the body is no control message: {error}"));
        let wire: Wire<'_> = object(body).map_err(malformed)?;
        let id = || {
            let id = wire.id.ok_or_else(|| malformed("it has no requestId".to_owned()))?;
            RequestId::parse(id).map_err(|error| malformed(error.to_string()))
        };
        let execution = || {
            let (run, attempt, survived) = (wire.run.unwrap_or(0), wire.attempt, wire.survived);
            Ok::<_, Malformed>(Execution { request_id: id()?, run, attempt, survived })
        };
        Ok(Some(match wire.kind.as_str() {
            "who" => Self::Who,
            "cancel" => Self::Cancel(id()?, wire.run),
            "who-had" => Self::WhoHad { execution: execution()?, process: wire.process },
            "had" => {
                let (execution, process, times) = (execution()?, wire.process, wire.times);
                Self::Had { execution, process, times }
            }
            _ => return Ok(None),
        }))
    }

    /// The message that is published to all programs.
    pub fn message(&self) -> Message {
        let kind = self.kind();
        Message {
            exchange: topology::CONTROL.into(),
            routing_key: kind.to_owned(),
            properties: Properties::transient(kind, self.id()),
            body: self.body().into_bytes(),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Cancel(..) => "cancel",
            Self::Who => "who",
            Self::WhoHad { .. } => "who-had",
            Self::Had { .. } => "had",
        }
    }

    fn id(&self) -> Option<&RequestId> {
        match self {
            Self::Who => None,
            Self::Cancel(id, _) => Some(id),
            Self::WhoHad { execution, .. } | Self::Had { execution, .. } => {
                Some(&execution.request_id)
            }
        }
    }

    fn body(&self) -> String {
        match self {
            Self::Who => r#"{"type":"who"}"#.to_owned(),
            Self::Cancel(id, run) => {
                let run = run.map(|run| format!(",\"run\":{run}")).unwrap_or_default();
                format!("{{\"type\":\"cancel\",\"requestId\":{}{run}}}", id.json())
            }
            Self::WhoHad { execution, process } => {
                format!("{{\"type\":\"who-had\",{}}}", fields(execution, process))
            }
            Self::Had { execution, process, times } => {
                let fields = fields(execution, process);
                format!("{{\"type\":\"had\",{fields},\"times\":{times}}}")
            }
        }
    }
}

fn fields(execution: &Execution, process: &str) -> String {
    let Execution { request_id, run, attempt, survived } = execution;
    let (id, process) = (request_id.json(), serde_json::Value::from(process));
    format!(
        "\"requestId\":{id},\"run\":{run},\"attempt\":{attempt},\"survived\":{survived},\"process\":{process}"
    )
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
            r#"{"type":"who-had","requestId":"me","run":0,"attempt":2,"survived":1,"process":"a"}"#,
            r#"{"type":"had","requestId":7,"run":0,"attempt":1,"survived":0,"process":"a","times":2}"#,
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
        assert!(Control::parse(br#"{"type":"who-had","attempt":1}"#).is_err());
    }
}
