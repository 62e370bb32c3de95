//! Bulk runs: actions on many requests, each done by one web service at a time.
//!
//! A web service leases a run and reports how far it is. When the lease is over without a report, the run is due again, and
//! another web service goes on from the last report.

use std::time::Duration;

use pipeline::contract::Timestamp;
use uuid::Uuid;

/// A run that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBulkRun {
    /// Its id. A second run with the same id is not made.
    pub id: Uuid,
    /// What is to be done, as JSON.
    pub plan: String,
    /// How far that is at the beginning, as JSON.
    pub progress: String,
    /// How long until it begins.
    pub due_in: Duration,
}

/// A run as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkRun {
    /// Its id.
    pub id: Uuid,
    /// What is to be done, as JSON.
    pub plan: String,
    /// How far that is, as JSON.
    pub progress: String,
    /// Whether nothing is left to be done.
    pub is_over: bool,
    /// Whether somebody has asked to stop it.
    pub is_stop_asked: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A request for leases on due runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseBulkRuns {
    /// The token of these leases, different for each call.
    pub lease: Uuid,
    /// How long the leases last: after that the runs are due again.
    pub duration: Duration,
    /// How many at most.
    pub limit: u32,
}

/// How far a leased run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkRunReport {
    /// Its id.
    pub id: Uuid,
    /// The lease. A report under an older lease than the present one changes nothing.
    pub lease: Uuid,
    /// How far it is, as JSON.
    pub progress: String,
    /// Whether nothing is left to be done.
    pub is_over: bool,
    /// How long the lease lasts from now on; zero gives it back.
    pub due_in: Duration,
}

/// The answer to a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It is recorded, and the run goes on.
    GoOn,
    /// It is recorded, and somebody has asked to stop the run.
    StopAsked,
    /// Another web service has the run, or it is over.
    NotLeased,
}

impl Reported {
    /// The answer, by whether a stop is asked for in the row that was changed, if one was.
    pub(crate) fn of(is_stop_asked: Option<bool>) -> Self {
        match is_stop_asked {
            Some(false) => Self::GoOn,
            Some(true) => Self::StopAsked,
            None => Self::NotLeased,
        }
    }
}
