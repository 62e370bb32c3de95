//! What is kept of a request.

use pipeline::contract::{ErrorBody, Timestamp};
use uuid::Uuid;

use super::callbacks::{Callback, Target};

/// How far a request has come, as far as it is stored. Whether a queued one is being worked on is
/// known in memory only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// It has no final state yet.
    Queued,
    /// It ended with a result.
    Completed,
    /// It ended with an error.
    Failed,
    /// It was ended by its owner.
    Cancelled,
}

impl Status {
    /// All of them, each at the index that is its number in the store.
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

    /// Whether nothing comes after it, a replay apart.
    pub fn is_final(self) -> bool {
        self != Self::Queued
    }

    pub(super) fn number(self) -> i16 {
        match self {
            Self::Queued => 0,
            Self::Completed => 1,
            Self::Failed => 2,
            Self::Cancelled => 3,
        }
    }

    /// The schema lets no other numbers in.
    pub(super) fn from_number(number: i64) -> Self {
        usize::try_from(number)
            .ok()
            .and_then(|at| Self::ALL.get(at))
            .copied()
            .unwrap_or(Self::Queued)
    }
}

/// A request that was just accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRequest {
    /// Its id, version 7: the list is in order of ids.
    pub id: Uuid,
    /// The type of its work.
    pub kind: String,
    /// ParkedFilter it is.
    pub owner: Option<String>,
    /// What to work on: JSON text, kept byte by byte.
    pub request_data: Vec<u8>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The trace it belongs to, as a `traceparent`.
    pub trace: Option<String>,
    /// Where to tell of its end.
    pub callback: Option<Target>,
}

/// All that is known of a request but its payloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub id: Uuid,
    /// How far it has come.
    pub status: Status,
    /// The type of its work.
    pub kind: String,
    /// ParkedFilter it is.
    pub owner: Option<String>,
    /// Which run this is: 0, and one more for each replay.
    pub run: u32,
    /// How many attempts were made, as far as the store was told.
    pub attempts: u32,
    /// How often it was delivered, as far as the store was told.
    pub deliveries: u32,
    /// When it was accepted; none if only its result or an event of it has come so far.
    pub accepted_at: Option<Timestamp>,
    /// When the work began, by the worker's clock.
    pub started_at: Option<Timestamp>,
    /// When it ended: by the worker's clock, else by the store's.
    pub finished_at: Option<Timestamp>,
    /// Who did the work.
    pub worker: Option<String>,
    /// Why it failed, if it did.
    pub error: Option<ErrorBody>,
    /// What went wrong in the last attempt that was not the final one.
    pub last_error: Option<String>,
    /// When it will be tried again, if it waits for that.
    pub next_attempt_at: Option<Timestamp>,
    /// How far it has come that its end is told, if it is to be.
    pub callback: Option<Callback>,
}

/// A request with its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// All but the result.
    pub summary: Summary,
    /// The result as JSON text, byte by byte as it came, if it has one.
    pub result: Option<Vec<u8>>,
}

/// What is known under an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// This.
    Record(Box<Record>),
    /// It was here, and its time is over.
    Expired,
    /// It was never here, or so long ago that it is forgotten.
    Unknown,
}

/// What a worker said of an attempt that is to be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retrying {
    /// Which request.
    pub id: Uuid,
    /// In which run.
    pub run: u32,
    /// How many attempts were made, this one counted.
    pub attempts: u32,
    /// What went wrong.
    pub last_error: String,
    /// When it will be tried again.
    pub next_attempt_at: Option<Timestamp>,
}

/// The answer to a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// It is cancelled from now on, in this run.
    Done(u32),
    /// It was final already, in this way.
    TooLate(Status),
    /// It was here, and its time is over.
    Expired,
    /// There is no such request.
    Unknown,
}

/// A request that has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Which request.
    pub id: Uuid,
    /// How it ended, and in which run; none if it has expired since.
    pub how: Option<(Status, u32)>,
}

/// What to clear away. Moments are by [`Store::clock`](super::Store::clock).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// Requests that ended before, and messages that were parked before.
    pub ended_before: Timestamp,
    /// Tombstones of requests that expired before.
    pub tombstones_before: Timestamp,
    /// How many of each kind at most: a small number, so that nobody has to wait.
    pub at_most: u32,
}

/// What was cleared away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cleared {
    /// Requests that left a tombstone.
    pub requests: u64,
    /// Parked messages.
    pub parked: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Idempotency keys that went, or stay because their request does.
    pub claims: u64,
}

impl Cleared {
    /// Whether there may be more: some kind reached the limit.
    pub fn reached(&self, at_most: u32) -> bool {
        [self.requests, self.parked, self.tombstones, self.claims].contains(&u64::from(at_most))
    }
}
