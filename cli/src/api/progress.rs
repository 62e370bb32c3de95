//! Progress of the work on a request: a fraction, or so many of so many, with a message.

use serde::Deserialize;

use super::request::Request;

/// What a worker reports about its work.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Progress {
    /// From 0 to 1.
    pub(crate) progress: Option<f64>,
    /// What the fraction was counted from, if the worker counts.
    pub(crate) progress_count: Option<Count>,
    /// What it says of it. An event and a request have another name for it.
    #[serde(alias = "progressMessage")]
    pub(crate) message: Option<String>,
    /// The event as it came.
    #[serde(skip)]
    pub(crate) json: String,
}

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Count {
    pub(crate) done: u64,
    pub(crate) total: u64,
}

impl Progress {
    /// The progress in an event; one that can't be read tells nothing.
    pub(super) fn parse(json: String) -> Self {
        let progress: Self = serde_json::from_str(&json).unwrap_or_default();
        Self { json, ..progress }
    }

    /// The progress in a request; none if it has none.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let progress: Self = serde_json::from_str(request.json()).ok()?;
        let has_any = progress.progress.is_some() || progress.message.is_some();
        has_any.then_some(progress)
    }
}
