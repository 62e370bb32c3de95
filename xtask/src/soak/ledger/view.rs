//! A request as the API and callbacks show it, as far as the soak looks at it.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

/// A request, as a GET answers it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View {
    pub(crate) request_id: Uuid,
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) run: i64,
    #[serde(default)]
    pub(crate) attempts: i64,
    #[serde(default)]
    pub(crate) deliveries: i64,
    pub(crate) finished_at: Option<String>,
    pub(crate) processing_results: Option<Value>,
    pub(crate) error: Option<Failure>,
    pub(crate) callback: Option<CallbackView>,
}

/// Why a request has failed.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// How far a request's callback is.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallbackView {
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) attempts: i64,
    pub(crate) last_error: Option<String>,
}

/// How a request ended: the same wherever and whenever it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) status: String,
    pub(crate) run: i64,
    pub(crate) finished_at: String,
}

impl View {
    /// How it ended, if it has.
    pub(crate) fn end(&self) -> Option<End> {
        let ended = ["completed", "failed", "cancelled"].contains(&self.status.as_str());
        let finished_at = self.finished_at.clone().unwrap_or_default();
        ended.then(|| End { status: self.status.clone(), run: self.run, finished_at })
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if let Some(Failure { code, message }) = &self.error {
            write!(f, " ({code}: {message})")?;
        }
        write!(f, ", attempts {}, deliveries {}", self.attempts, self.deliveries)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in run {} at {}", self.status, self.run, self.finished_at)
    }
}

impl fmt::Display for CallbackView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {} attempts", self.status, self.attempts)?;
        self.last_error.iter().try_for_each(|error| write!(f, ", the last: {error}"))
    }
}
