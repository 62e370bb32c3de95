//! Calls that find requests whose message is missing, and publish them again.

use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{client::Client, error::CallError};

/// How long the response may take: some seconds, and longer where millions of requests are open.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(300);

/// What was found: its JSON as it came, and the fields that are shown.
#[derive(Debug)]
pub(crate) struct Verification {
    json: Box<RawValue>,
    pub(crate) details: VerificationDetails,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct VerificationDetails {
    pub(crate) open: u64,
    pub(crate) in_work: u64,
    pub(crate) waiting: u64,
    pub(crate) retrying: u64,
    pub(crate) messages_waiting: u64,
    pub(crate) messages_retrying: u64,
    pub(crate) missing: Vec<MissingRequest>,
    pub(crate) missing_count: u64,
    pub(crate) is_cut: bool,
    pub(crate) unseen: Vec<Unseen>,
}

/// A request whose message is missing.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MissingRequest {
    pub(crate) request_id: Uuid,
    #[serde(default)]
    pub(crate) run: u64,
    #[serde(default)]
    pub(crate) accepted_at: Option<String>,
    #[serde(default)]
    pub(crate) next_attempt_at: Option<String>,
    #[serde(default)]
    pub(crate) reason: String,
}

/// What the service could not see.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Unseen {
    pub(crate) detail: String,
}

impl Verification {
    /// The JSON as it came.
    pub(crate) fn json(&self) -> &str {
        self.json.get()
    }
}

impl<'de> Deserialize<'de> for Verification {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let details = serde_json::from_str(json.get()).map_err(serde::de::Error::custom)?;
        Ok(Self { json, details })
    }
}

impl Client {
    /// Which open requests have no message.
    pub(crate) async fn verify(&self) -> Result<Verification, CallError> {
        let url = self.url(&["verify"]);
        self.with_retries(async || {
            self.send_for_json(self.request(Method::GET, url.clone()), VERIFY_TIMEOUT).await
        })
        .await
    }

    /// Publishes a request again that was in run `run` a moment ago.
    pub(crate) async fn republish(&self, id: Uuid, run: u64) -> Result<(), CallError> {
        let url = self.url(&["requests", &id.to_string(), "republish"]);
        self.call_for_next_run(url, id, run, "not-waiting").await
    }
}
