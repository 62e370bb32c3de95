//! What can be decided about a request whose message is published again before it has ended, as a run of its own: its next
//! attempt is to begin at once, or its message is missing.

use crate::model::request::{RequestState, Status};

/// Why a message is published again for a request that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reissue {
    /// It waits for the time of its next attempt, which is to begin at once.
    AtOnce,
    /// Its message is missing. The time of its next attempt stays, if it waits for one.
    Missing,
}

/// Which attempt a request waits for, as far as the caller knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AwaitedAttempt {
    /// The run.
    pub run: u32,
    /// How many attempts were made before.
    pub attempts: u32,
}

/// The answer to the note of a run in which a request's next attempt is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteRetry {
    /// The attempt may be published as this run. No other call gets the same.
    Noted(u32),
    /// The request does not wait for this attempt any more, or has ended. It has this status.
    NotWaiting(Status),
    /// It has expired.
    Expired,
    /// There is no such request.
    Unknown,
}

/// The answer to the beginning of a run in which a request's next attempt was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeginRetry {
    /// The request is in this run now. Work on earlier ones is obsolete.
    Done,
    /// It was in this run, or in a later one, or that has even ended.
    Overtaken,
    /// It has ended in an earlier run, with this status.
    Ended(Status),
    /// It has expired.
    Expired,
    /// There is no such request.
    Unknown,
}

impl NoteRetry {
    /// The answer to a note that changed nothing, by the state of the request.
    pub(crate) fn refused(state: RequestState) -> Self {
        match state {
            RequestState::Stored { status, .. } => Self::NotWaiting(status),
            RequestState::Expired => Self::Expired,
            RequestState::Unknown => Self::Unknown,
        }
    }
}

impl BeginRetry {
    /// The answer to a beginning of `run` that changed nothing, by the state of the request.
    pub(crate) fn refused(run: u32, state: RequestState) -> Self {
        match state {
            RequestState::Stored { run: now, .. } if now >= run => Self::Overtaken,
            RequestState::Stored { status: Status::Queued, .. } => Self::Overtaken,
            RequestState::Stored { status, .. } => Self::Ended(status),
            RequestState::Expired => Self::Expired,
            RequestState::Unknown => Self::Unknown,
        }
    }
}
