//! The status of the whole system, as the service returns it.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{client::Client, error::CallError};

/// The status: its JSON as it came, and the fields that are shown. What the service does not know is missing.
#[derive(Debug)]
pub(crate) struct SystemStatus {
    json: Box<RawValue>,
    pub(crate) details: StatusDetails,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct StatusDetails {
    pub(crate) at: String,
    pub(crate) status: String,
    pub(crate) parts: BTreeMap<String, Part>,
    pub(crate) requests: RequestCounts,
    pub(crate) count_limit: Option<u64>,
    pub(crate) oldest: Option<Oldest>,
    pub(crate) rates: Option<Rates>,
    pub(crate) workers: Workers,
    pub(crate) queues: Vec<Queue>,
}

/// A part that the service needs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Part {
    pub(crate) ok: bool,
    pub(crate) detail: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RequestCounts {
    pub(crate) open: Option<u64>,
    pub(crate) waiting: Option<u64>,
    pub(crate) processing: Option<u64>,
    pub(crate) retrying: Option<u64>,
    pub(crate) failed: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Oldest {
    pub(crate) request_id: String,
    pub(crate) accepted_at: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rates {
    pub(crate) accepted_per_second: f64,
    pub(crate) ended_per_second: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Workers {
    pub(crate) subscribed: Option<u64>,
    pub(crate) busy: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) messages: u64,
    pub(crate) consumers: u64,
}

impl SystemStatus {
    /// The JSON as it came.
    pub(crate) fn json(&self) -> &str {
        self.json.get()
    }
}

impl<'de> Deserialize<'de> for SystemStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let details = serde_json::from_str(json.get()).map_err(serde::de::Error::custom)?;
        Ok(Self { json, details })
    }
}

impl Client {
    /// The status of the whole system.
    pub(crate) async fn status(&self) -> Result<SystemStatus, CallError> {
        self.call(Method::GET, self.url(&["status"])).await
    }
}
