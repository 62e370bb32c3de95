//! Attempts at a request: who made each, when, and how it ended.

use pipeline::contract::{ErrorBody, Timestamp, codes};

use crate::model::request::{Status, Summary};

/// How many attempts of a request are told at most, the latest.
pub const MAX_ATTEMPTS_TOLD: usize = 1000;

/// An attempt that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The run.
    pub run: u32,
    /// Which attempt, counted from 1.
    pub attempt: u32,
    /// Which delivery of the attempt, counted from 1: more than 1 if workers were lost before.
    pub delivery: u32,
    /// The worker, if it is known.
    pub worker: Option<String>,
    /// When the work began, by the worker's clock.
    pub started_at: Option<Timestamp>,
    /// When it ended, by the worker's clock, or by the store's if no worker said it.
    pub ended_at: Option<Timestamp>,
    /// Why it failed; none if it completed.
    pub error: Option<ErrorBody>,
    /// When the next attempt was to begin, if one followed.
    pub next_attempt_at: Option<Timestamp>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptEnd {
    /// With a result.
    Completed,
    /// With an error.
    Failed,
    /// It took too long.
    TimedOut,
    /// The message was given up. No worker has said that the work failed.
    GivenUp,
}

/// What is known of the attempts at a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundAttempts {
    /// The request is stored.
    Of {
        /// The request.
        summary: Box<Summary>,
        /// Its attempts that are over, the earliest first; [`MAX_ATTEMPTS_TOLD`] at most, the latest.
        attempts: Vec<Attempt>,
        /// Whether there were more.
        is_cut: bool,
    },
    /// The request has expired.
    Expired,
    /// There is no such request.
    Unknown,
}

impl Attempt {
    /// How it ended.
    pub fn end(&self) -> AttemptEnd {
        match self.error.as_ref().map(|error| error.code.as_str()) {
            None => AttemptEnd::Completed,
            Some(codes::TIMEOUT) => AttemptEnd::TimedOut,
            Some(code) if codes::is_given_up(code) => AttemptEnd::GivenUp,
            Some(_) => AttemptEnd::Failed,
        }
    }

    /// The attempt with which a request has ended; none if it has not, or was cancelled.
    fn last_of(summary: &Summary) -> Option<Self> {
        let has_ended = matches!(summary.status, Status::Completed | Status::Failed);
        has_ended.then(|| Self {
            run: summary.run,
            attempt: summary.attempts,
            delivery: summary.deliveries,
            worker: summary.worker.clone(),
            started_at: summary.started_at,
            ended_at: summary.finished_at,
            error: summary.error.clone(),
            next_attempt_at: None,
        })
    }
}

/// The attempts at a request: those that failed, and the one that is in its row. The rows are the latest first, one more
/// than are told if there are more.
pub(crate) fn of_request(summary: Summary, mut failed: Vec<Attempt>) -> FoundAttempts {
    failed.reverse();
    // A failure of which an earlier release has kept no attempt is in the row of the request only.
    let is_told = |last: &Attempt| {
        let key =
            |one: &Attempt| (one.run, one.attempt, one.error.as_ref().map(|it| it.code.clone()));
        failed.iter().any(|one| one.next_attempt_at.is_none() && key(one) == key(last))
    };
    let last = Attempt::last_of(&summary).filter(|last| !is_told(last));
    failed.extend(last);
    failed.sort_by_key(|one| (one.run, one.attempt));
    let too_many = failed.len().saturating_sub(MAX_ATTEMPTS_TOLD);
    failed.drain(..too_many);
    FoundAttempts::Of { summary: Box::new(summary), attempts: failed, is_cut: too_many > 0 }
}
