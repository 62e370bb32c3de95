//! A parked message as the service shows it.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, value::RawValue};
use uuid::Uuid;

/// A message that nobody could work on: its JSON as it came, and what we look at in it.
#[derive(Debug)]
pub(crate) struct Letter {
    json: Box<RawValue>,
    pub(crate) details: Details,
}

/// What is known of a message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Details {
    pub(crate) number: i64,
    pub(crate) request_id: Option<Uuid>,
    #[serde(default)]
    pub(crate) run: u64,
    #[serde(default)]
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) error: String,
    #[serde(default)]
    pub(crate) received_at: String,
    #[serde(default)]
    pub(crate) headers: Map<String, Value>,
    #[serde(default)]
    pub(crate) size: u64,
    /// The body, if it is text; else it is the next one.
    pub(crate) text: Option<String>,
    pub(crate) base64: Option<String>,
}

impl Letter {
    /// The message as it came.
    pub(crate) fn json(&self) -> &str {
        self.json.get()
    }
}

impl<'de> Deserialize<'de> for Letter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let details = serde_json::from_str(json.get()).map_err(serde::de::Error::custom)?;
        Ok(Self { json, details })
    }
}
