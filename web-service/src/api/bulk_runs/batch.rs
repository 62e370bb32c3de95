//! The parts of a bulk run: its phases and steps, the requests of a batch, and what comes of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// What a run does at present, or how it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// It has not begun, and can be undone.
    Waiting,
    /// It does its action, or waits for the end of what it has replayed.
    Running,
    /// All were done.
    Finished,
    /// It was stopped before it began.
    Undone,
    /// Somebody has stopped it.
    Aborted,
    /// It has stopped by itself, because too many of those that it had replayed have failed again.
    Stopped,
}

/// A request of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Item {
    pub(crate) id: Uuid,
    /// The run in which it was chosen.
    pub(crate) run: u32,
    /// Whether it was replayed, so that its end is awaited.
    pub(crate) is_done: bool,
    /// Whether the action was tried and may have been done, though it had no success.
    #[serde(default)]
    pub(crate) is_uncertain: bool,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The action was done.
    Done,
    /// It had changed meanwhile.
    Changed,
    /// It can't be done with this request, for this reason.
    Refused(String),
    /// The broker or the store is away.
    Trouble(String),
}

/// What a run does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Chooses so many requests.
    Choose(usize),
    /// Does the action with requests of the batch.
    Perform,
    /// Looks which of the replayed ones have ended.
    Watch,
    /// It is over.
    End(Phase),
}

impl Phase {
    /// Whether it does nothing any more.
    pub(crate) fn is_over(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running)
    }
}
