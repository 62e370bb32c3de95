//! What can be decided about a failed request: to replay it in a next run, or to discard it.

use crate::model::request::{RequestState, Status};

/// The answer to a replay, and to the note of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// It is queued in its next run; or the note is made.
    Done,
    /// Another replay of the same run was recorded before, or the next run has even ended.
    Overtaken,
    /// It has this status, so there is nothing to replay.
    NotFailed(Status),
    /// It has expired.
    Expired,
    /// There is no such request.
    Unknown,
}

/// The answer to a discard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    /// It is deleted with its parked messages; its id is remembered.
    Done,
    /// Its callback has not been delivered or given up.
    CallbackPending,
    /// It has this status, so there is nothing to discard.
    NotFailed(Status),
    /// It has expired.
    Expired,
    /// There is no such request.
    Unknown,
}

impl Replay {
    /// The answer to a replay of `run` that changed nothing, by the state of the request.
    pub(crate) fn refused(run: u32, state: RequestState) -> Self {
        match state {
            RequestState::Stored { run: now, .. } if now > run => Self::Overtaken,
            RequestState::Stored { status, .. } => Self::NotFailed(status),
            RequestState::Expired => Self::Expired,
            RequestState::Unknown => Self::Unknown,
        }
    }
}

impl Discard {
    /// The answer to a discard that changed nothing, by the state of the request.
    pub(crate) fn refused(state: RequestState) -> Self {
        match state {
            // Only its callback can have kept it.
            RequestState::Stored { status: Status::Failed, .. } => Self::CallbackPending,
            RequestState::Stored { status, .. } => Self::NotFailed(status),
            RequestState::Expired => Self::Expired,
            RequestState::Unknown => Self::Unknown,
        }
    }
}
