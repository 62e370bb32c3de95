//! A parked message as the service returns it: one that no worker could handle.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, value::RawValue};
use uuid::Uuid;

/// A parked message: its JSON as it came, and the fields that commands use.
#[derive(Debug)]
pub(crate) struct ParkedMessage {
    json: Box<RawValue>,
    pub(crate) details: Details,
}

/// The fields of a parked message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Details {
    pub(crate) number: i64,
    /// The request that the message belongs to, if that is known.
    pub(crate) request_id: Option<Uuid>,
    #[serde(default)]
    pub(crate) run: u64,
    /// A code, like that of a request's error.
    #[serde(default)]
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) error: String,
    #[serde(default)]
    pub(crate) received_at: String,
    #[serde(default)]
    pub(crate) headers: Map<String, Value>,
    /// Bytes of the body.
    #[serde(default)]
    pub(crate) size: u64,
    /// The body, if it is text; otherwise it is in `base64`.
    pub(crate) text: Option<String>,
    pub(crate) base64: Option<String>,
}

impl ParkedMessage {
    /// The JSON as it came.
    pub(crate) fn json(&self) -> &str {
        self.json.get()
    }
}

impl<'de> Deserialize<'de> for ParkedMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let details = serde_json::from_str(json.get()).map_err(serde::de::Error::custom)?;
        Ok(Self { json, details })
    }
}
