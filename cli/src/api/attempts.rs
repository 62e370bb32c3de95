//! The attempts at a request as the service returns them.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::request::ErrorBody;

/// The attempts at a request, the earliest first.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attempts {
    /// Each as it came.
    pub(crate) items: Vec<Box<RawValue>>,
    /// Whether there were more before.
    #[serde(default)]
    pub(crate) is_cut: bool,
}

/// The fields of an attempt that commands use.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Attempt {
    pub(crate) run: u64,
    pub(crate) attempt: u64,
    pub(crate) outcome: String,
    pub(crate) worker: String,
    pub(crate) started_at: Option<String>,
    pub(crate) ended_at: Option<String>,
    pub(crate) error: Option<ErrorBody>,
}
