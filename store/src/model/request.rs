//! Requests as they are stored, and what can be known of one under an id.

use pipeline::contract::{ErrorBody, Timestamp, codes};
use uuid::Uuid;

use crate::model::callback::{Callback, CallbackTarget};

/// The stored status of a request. Whether a worker is working on a queued one is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// It has no final state yet.
    Queued,
    /// It ended with a result.
    Completed,
    /// It ended with an error.
    Failed,
    /// It was cancelled by its owner.
    Cancelled,
}

impl Status {
    /// All statuses, each at the index that is its number in the database.
    pub const ALL: [Self; 4] = [Self::Queued, Self::Completed, Self::Failed, Self::Cancelled];

    /// The word for it in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether only a replay can change it.
    pub fn is_final(self) -> bool {
        self != Self::Queued
    }

    /// The number for it in the database.
    pub(crate) fn number(self) -> i16 {
        match self {
            Self::Queued => 0,
            Self::Completed => 1,
            Self::Failed => 2,
            Self::Cancelled => 3,
        }
    }

    /// The schema lets no other numbers in.
    pub(crate) fn from_number(number: i64) -> Self {
        usize::try_from(number)
            .ok()
            .and_then(|at| Self::ALL.get(at))
            .copied()
            .unwrap_or(Self::Queued)
    }
}

/// An accepted request, to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRequest {
    /// Its id, version 7: the list is in order of ids.
    pub id: Uuid,
    /// The type of the work.
    pub kind: String,
    /// Who owns it.
    pub owner: Option<String>,
    /// The data to process: JSON text, kept byte by byte.
    pub request_data: Vec<u8>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The trace it belongs to, as a `traceparent`.
    pub trace: Option<String>,
    /// Where to report its end.
    pub callback: Option<CallbackTarget>,
}

/// All that is stored of a request except its payloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub id: Uuid,
    /// Its status.
    pub status: Status,
    /// The type of the work.
    pub kind: String,
    /// Who owns it.
    pub owner: Option<String>,
    /// The run: 0, and one more for each replay.
    pub run: u32,
    /// How many attempts were made, as far as workers have reported them.
    pub attempts: u32,
    /// How often its present attempt was delivered, as far as workers have reported it.
    pub deliveries: u32,
    /// When it was accepted; none if only its result or an event about it has come so far.
    pub accepted_at: Option<Timestamp>,
    /// When the work started, by the worker's clock.
    pub started_at: Option<Timestamp>,
    /// When it ended: by the worker's clock, or by the store's if no worker said it.
    pub finished_at: Option<Timestamp>,
    /// When the store learned of its end, by the store's clock.
    pub settled_at: Option<Timestamp>,
    /// The worker.
    pub worker: Option<String>,
    /// Why it failed, if it did.
    pub error: Option<ErrorBody>,
    /// The error of the last attempt that was repeated.
    pub last_error: Option<String>,
    /// When the next attempt starts, if the request waits for one.
    pub next_attempt_at: Option<Timestamp>,
    /// Its callback, if it was accepted with one.
    pub callback: Option<Callback>,
}

/// A request with its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// All except the result.
    pub summary: Summary,
    /// The result as JSON text, byte by byte as it came, if it has one.
    pub result: Option<Vec<u8>>,
}

/// What is known of an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A request is stored.
    Record(Box<Record>),
    /// The request was deleted after its retention, or discarded; only the id is remembered.
    Expired,
    /// There was no such request, or it is forgotten.
    Unknown,
}

/// The state of a request, as far as it decides whether it can be cancelled, replayed or discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestState {
    Stored { status: Status, run: u32 },
    Expired,
    Unknown,
}

/// An attempt that failed and will be repeated, as its worker reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledRetry {
    /// The request.
    pub id: Uuid,
    /// Its run.
    pub run: u32,
    /// How many attempts were made, including this one.
    pub attempts: u32,
    /// Which delivery of this attempt it was, counted from 1.
    pub delivery: u32,
    /// The worker, if it is known.
    pub worker: Option<String>,
    /// When the work began, by the worker's clock.
    pub started_at: Option<Timestamp>,
    /// When it failed, by the worker's clock.
    pub ended_at: Option<Timestamp>,
    /// The error.
    pub error: ErrorBody,
    /// When the next attempt starts.
    pub next_attempt_at: Option<Timestamp>,
}

impl ScheduledRetry {
    /// The error in a few words.
    pub(crate) fn last_error(&self) -> &str {
        let ErrorBody { code, message } = &self.error;
        if message.is_empty() { code } else { message }
    }
}

/// The answer to a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// It is cancelled, in this run.
    Done(u32),
    /// It was final already, with this status.
    TooLate(Status),
    /// It has expired.
    Expired,
    /// There is no such request.
    Unknown,
}

impl Cancel {
    /// The answer to a cancel that changed nothing, by the state of the request.
    pub(crate) fn refused(state: RequestState) -> Self {
        match state {
            RequestState::Stored { status, .. } => Self::TooLate(status),
            RequestState::Expired => Self::Expired,
            RequestState::Unknown => Self::Unknown,
        }
    }
}

/// A request that has ended, or of which an earlier run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The request.
    pub id: Uuid,
    /// How it ended, or that it is queued in this run; none if it has expired.
    pub end: Option<End>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Its status; `queued` if a later run has begun.
    pub status: Status,
    /// The run that ended, or has begun.
    pub run: u32,
    /// Whether its message was given up, and a success of the same run would still count.
    pub is_given_up: bool,
}

impl End {
    /// An end with this error code, if it has one.
    pub fn new(status: Status, run: u32, error_code: Option<&str>) -> Self {
        let is_given_up = status == Status::Failed && error_code.is_some_and(codes::is_given_up);
        Self { status, run, is_given_up }
    }
}

/// What a request was made of, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// The data to process, as it was accepted; none if it never was.
    pub data: Option<Vec<u8>>,
    /// The trace it belongs to, as a `traceparent`.
    pub trace: Option<String>,
    /// Its type; none if the request is not known, or was never accepted.
    pub kind: Option<String>,
}
