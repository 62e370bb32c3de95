//! A request as the service returns it.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use uuid::Uuid;

/// A request: its JSON as it came, and the fields that commands use.
#[derive(Debug)]
pub(crate) struct Request {
    json: Box<RawValue>,
    pub(crate) id: Uuid,
    pub(crate) status: Status,
    pub(crate) error: Option<ErrorBody>,
    pub(crate) details: Details,
    result: Option<Box<RawValue>>,
}

/// The status of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Queued,
    Processing,
    Completed,
    Failed,
    Cancelled,
    /// A status of a later release; it does not count as final.
    #[serde(other)]
    Unknown,
}

/// Why a request failed.
#[derive(Debug, Deserialize)]
pub(crate) struct ErrorBody {
    #[serde(default)]
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) message: String,
}

/// The other fields of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Details {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) attempts: u64,
    pub(crate) deliveries: u64,
    pub(crate) run: u64,
    pub(crate) accepted_at: Option<String>,
    pub(crate) started_at: Option<String>,
    pub(crate) finished_at: Option<String>,
    pub(crate) worker: Option<String>,
    pub(crate) last_error: Option<String>,
    pub(crate) next_attempt_at: Option<String>,
    pub(crate) callback: Option<Callback>,
}

/// The callback of a request, and its attempts so far.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Callback {
    pub(crate) status: String,
    pub(crate) attempts: u64,
    pub(crate) last_error: Option<String>,
    pub(crate) next_attempt_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    request_id: Uuid,
    status: Status,
    error: Option<ErrorBody>,
    // `null` is a result like any other, which `Option` alone would take for none.
    #[serde(default, deserialize_with = "present")]
    processing_results: Option<Box<RawValue>>,
}

fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(value).map(Some)
}

impl Request {
    /// The JSON as it came.
    pub(crate) fn json(&self) -> &str {
        self.json.get()
    }

    /// The result as it came, if there is one.
    pub(crate) fn result(&self) -> Option<&str> {
        self.result.as_deref().map(RawValue::get)
    }

    /// The error as it came, with fields that this release does not know.
    pub(crate) fn error_json(&self) -> Option<Box<RawValue>> {
        #[derive(Deserialize)]
        struct Error {
            error: Box<RawValue>,
        }
        serde_json::from_str(self.json()).ok().map(|Error { error }| error)
    }
}

impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let shape: Shape = serde_json::from_str(json.get()).map_err(serde::de::Error::custom)?;
        let details = serde_json::from_str(json.get()).map_err(serde::de::Error::custom)?;
        let Shape { request_id: id, status, error, processing_results: result } = shape;
        Ok(Self { json, id, status, error, details, result })
    }
}

impl Status {
    /// Whether no other status follows in this run.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The status as the service writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Unknown => "in a state that this version of slowlane does not know",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01a1fd87-448c-755a-a380-a6f598ec5ae1";

    fn request(rest: &str) -> Request {
        serde_json::from_str(&format!("{{\"requestId\":\"{ID}\",{rest}}}")).unwrap()
    }

    #[test]
    fn a_result_keeps_its_text() {
        for result in ["null", "1e400", "{\"b\":1, \"a\":\n12345678901234567890.10}"] {
            let request =
                request(&format!("\"status\":\"completed\",\"processingResults\":{result}"));
            assert_eq!(request.result(), Some(result));
        }
        assert_eq!(request("\"status\":\"queued\"").result(), None);
    }

    #[test]
    fn unknown_fields_and_statuses_are_accepted() {
        let request = request("\"status\":\"paused\",\"color\":{},\"progress\":{\"done\":1}");
        assert!(request.status == Status::Unknown && !request.status.is_final());
    }

    #[test]
    fn an_error_keeps_unknown_fields() {
        let request =
            request("\"status\":\"failed\",\"error\":{\"code\":\"x\",\"message\":\"m\",\"n\":1}");
        assert_eq!(request.error.as_ref().unwrap().code, "x");
        let json = request.error_json().unwrap();
        assert_eq!(json.get(), r#"{"code":"x","message":"m","n":1}"#);
    }
}
