//! Calls about actions on many requests, which the service does: begin, get, abort.

use std::time::Duration;

use reqwest::{Method, header};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, value::RawValue};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    client::{Client, RESPONSE_TIMEOUT},
    error::CallError,
};

/// For how long a call that is to stop an action is repeated.
const MAX_ABORT_TIME: Duration = Duration::from_secs(10);

/// An action on many requests: its JSON as it came, and the fields that are shown.
#[derive(Debug)]
pub(crate) struct BulkRun {
    json: Box<RawValue>,
    pub(crate) details: BulkRunDetails,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct BulkRunDetails {
    pub(crate) phase: String,
    pub(crate) count: u64,
    pub(crate) done: u64,
    pub(crate) skipped: u64,
    pub(crate) refusal: Option<String>,
    pub(crate) batch: u64,
    pub(crate) batch_size: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) pending: u64,
    pub(crate) trouble: Option<String>,
}

impl BulkRun {
    /// The JSON as it came.
    pub(crate) fn json(&self) -> &str {
        self.json.get()
    }
}

impl BulkRunDetails {
    /// Whether the service does nothing more for it.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.phase.as_str(), "waiting" | "running")
    }
}

impl<'de> Deserialize<'de> for BulkRun {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let details = serde_json::from_str(json.get()).map_err(serde::de::Error::custom)?;
        Ok(Self { json, details })
    }
}

impl Client {
    /// Begins an action on many requests. The `runId` in the order makes it safe to repeat the call.
    pub(crate) async fn begin_bulk_run(&self, order: &Value) -> Result<BulkRun, CallError> {
        let (url, body) = (self.url(&["bulk-runs"]), order.to_string());
        self.with_retries(async || {
            let post = self.request(Method::POST, url.clone());
            let post = post.header(header::CONTENT_TYPE, "application/json").body(body.clone());
            self.send_for_json(post, RESPONSE_TIMEOUT).await
        })
        .await
    }

    /// An action on many requests as it is now.
    pub(crate) async fn bulk_run(&self, id: Uuid) -> Result<BulkRun, CallError> {
        self.call(Method::GET, self.url(&["bulk-runs", &id.to_string()])).await
    }

    /// Asks to stop an action on many requests, not for long: whoever calls this wants to end.
    pub(crate) async fn abort_bulk_run(&self, id: Uuid) -> Result<BulkRun, CallError> {
        let url = self.url(&["bulk-runs", &id.to_string(), "abort"]);
        let deadline = self.retry_deadline().min(Instant::now() + MAX_ABORT_TIME);
        self.with_retries_until(deadline, async || {
            self.send_for_json(self.request(Method::POST, url.clone()), RESPONSE_TIMEOUT).await
        })
        .await
    }
}
