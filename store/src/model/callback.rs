//! Callbacks: where a request's end is reported to, leases on due callbacks, and what an attempt changes.
//!
//! A request that was accepted with a [`CallbackTarget`] gets its callback in the transaction that makes it
//! final. From then on one web service at a time leases the callback. When the lease is over and no outcome
//! was recorded, the callback is due again.

use std::time::Duration;

use pipeline::contract::Timestamp;
use uuid::Uuid;

use crate::model::send_capacity::SendCapacity;

/// How many due callbacks are read to find some whose hosts have capacity.
pub(crate) const DUE_CANDIDATES: usize = 256;

/// Where to report the end of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackTarget {
    /// The whole URL. It may contain a password, so it is never shown.
    pub url: String,
    /// The host in the URL.
    pub host: String,
}

/// How far a callback has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallbackStatus {
    /// It waits for the end of its request, or for its next attempt.
    Pending,
    /// The receiver has accepted it.
    Delivered,
    /// It was given up.
    Failed,
}

impl CallbackStatus {
    /// The word for it in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    /// The number for it in the database.
    pub(crate) fn number(self) -> i16 {
        match self {
            Self::Pending => 0,
            Self::Delivered => 1,
            Self::Failed => 2,
        }
    }

    /// The schema lets no other numbers in.
    pub(crate) fn from_number(number: i64) -> Self {
        match number {
            1 => Self::Delivered,
            2 => Self::Failed,
            _ => Self::Pending,
        }
    }
}

/// A request's callback as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// Where it goes.
    pub url: String,
    /// How far it has come.
    pub status: CallbackStatus,
    /// How many attempts were started.
    pub attempts: u32,
    /// The error of the last attempt that failed.
    pub last_error: Option<String>,
    /// When the next attempt starts; none while one is running, and when there will be no other.
    pub next_attempt_at: Option<Timestamp>,
    /// When the receiver accepted it.
    pub delivered_at: Option<Timestamp>,
}

/// A request for leases on due callbacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseCallbacks {
    /// How many attempts may start.
    pub capacity: SendCapacity,
    /// The token of these leases, different for each call.
    pub lease: Uuid,
    /// How long the leases last: after that the callbacks are due again.
    pub duration: Duration,
    /// From which age on a callback that is due to a slow host is given up if there is no capacity for it.
    pub max_age: Duration,
}

/// What came of a request for leases.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leases {
    /// The callbacks under lease.
    pub leased: Vec<LeasedCallback>,
    /// The callbacks that were given up without an attempt: their requests and hosts.
    pub given_up: Vec<(Uuid, String)>,
}

/// A callback under lease. Its attempt has started with that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedCallback {
    /// The request whose end is reported.
    pub id: Uuid,
    /// The token of the lease.
    pub lease: Uuid,
    /// The host it goes to.
    pub host: String,
    /// The run that ended.
    pub run: u32,
    /// Which attempt this is, counted from 1.
    pub attempt: u32,
    /// How long ago the run ended, or somebody asked for another attempt.
    pub age: Duration,
    /// When the request ended.
    pub ended_at: Timestamp,
}

/// What becomes of a callback after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The receiver has accepted it.
    Delivered,
    /// It is tried again after this pause.
    RetryAfter(Duration),
    /// It is given up.
    GivenUp,
    /// There is nothing to report any more.
    Dropped,
}

/// The outcome of an attempt, to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptReport {
    /// The request whose end was reported.
    pub id: Uuid,
    /// The lease of the attempt. A report under an older lease than the present one changes nothing.
    pub lease: Uuid,
    /// What becomes of the callback.
    pub outcome: AttemptOutcome,
    /// What went wrong, if anything.
    pub error: Option<String>,
}

/// What an attempt changes in a callback's row.
pub(crate) struct CallbackUpdate<'a> {
    pub(crate) state: i16,
    /// None if it stays as it is.
    pub(crate) due_at: Option<Timestamp>,
    pub(crate) error: Option<&'a str>,
    pub(crate) delivered_at: Option<Timestamp>,
}

impl AttemptReport {
    /// What changes in the row; none if the row is deleted.
    pub(crate) fn update(&self, now: Timestamp) -> Option<CallbackUpdate<'_>> {
        let (status, due_at, delivered_at) = match self.outcome {
            AttemptOutcome::Delivered => (CallbackStatus::Delivered, None, Some(now)),
            AttemptOutcome::RetryAfter(pause) => (CallbackStatus::Pending, Some(now + pause), None),
            AttemptOutcome::GivenUp => (CallbackStatus::Failed, None, None),
            AttemptOutcome::Dropped => return None,
        };
        let (state, error) = (status.number(), self.error.as_deref());
        Some(CallbackUpdate { state, due_at, error, delivered_at })
    }
}
