//! Results of workers: what they carry, and which of several for one request is stored.

use std::sync::Arc;

use pipeline::{
    contract::{ErrorBody, Timestamp, codes},
    topology::RequestType,
};
use uuid::Uuid;

use crate::model::request::Status;

/// How the work on a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResultOutcome {
    /// With this result: JSON text, kept byte by byte, and never copied.
    Completed(Arc<[u8]>),
    /// With this error.
    Failed(ErrorBody),
}

impl ResultOutcome {
    /// The status that the request gets.
    pub fn status(&self) -> Status {
        match self {
            Self::Completed(_) => Status::Completed,
            Self::Failed(_) => Status::Failed,
        }
    }

    /// The JSON text of the result, if there is one.
    pub(crate) fn result(&self) -> Option<&[u8]> {
        match self {
            Self::Completed(result) => Some(result),
            Self::Failed(_) => None,
        }
    }

    /// The error, if the work failed.
    pub fn error(&self) -> Option<&ErrorBody> {
        match self {
            Self::Completed(_) => None,
            Self::Failed(error) => Some(error),
        }
    }
}

/// A result with what its message says of the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerResult {
    /// The request it belongs to.
    pub id: Uuid,
    /// The type of the request, as the message names it: for those who count results, since the row has it too.
    pub request_type: RequestType,
    /// How the work ended.
    pub outcome: ResultOutcome,
    /// The run; none if the message does not say it: then it is that of a replay that is noted, or else the
    /// present one.
    pub run: Option<u32>,
    /// The attempt, counted from 1.
    pub attempt: u32,
    /// Which delivery of the attempt it was, counted from 1.
    pub deliveries: u32,
    /// The worker.
    pub worker: Option<String>,
    /// When the work started, by the worker's clock.
    pub started_at: Option<Timestamp>,
    /// When the work ended, by the worker's clock.
    pub finished_at: Option<Timestamp>,
}

/// What became of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It is the final state of its request, of which nothing else is known: it was its first run, and no attempt has failed.
    Stored,
    /// It is the final state of its request, which has been replayed or retried, or had an attempt that failed.
    StoredWithHistory,
    /// It was stored before: the same message came again.
    Duplicate,
    /// Dropped: another result of the same work has ended the request.
    Superseded,
    /// Dropped: a failure of a run that was replayed since.
    OlderRun,
    /// Dropped: the request was cancelled.
    Cancelled,
    /// Dropped: the request has expired.
    Expired,
    /// The database refuses the row, for this reason. All others of its batch are stored.
    BadRow(String),
}

impl Applied {
    /// What became of a result that is stored, by whether its row says more than the result does.
    pub(crate) fn stored(has_history: bool) -> Self {
        if has_history { Self::StoredWithHistory } else { Self::Stored }
    }

    /// Whether it is the final state of its request.
    pub fn is_stored(&self) -> bool {
        matches!(self, Self::Stored | Self::StoredWithHistory)
    }
}

/// The columns of a stored request that decide what becomes of another result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredResult {
    pub(crate) status: Status,
    pub(crate) run: u32,
    pub(crate) noted_run: u32,
    pub(crate) worker: Option<String>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) error_code: Option<String>,
}

/// What becomes of a result whose request is stored already. In SQL, `is_stored` says the same of
/// [`Applied::Stored`]; whether it has a history is known once it is stored.
pub(crate) fn decide(stored: &StoredResult, new: &WorkerResult) -> Applied {
    let is_success = new.outcome.status() == Status::Completed;
    let run = new.run.unwrap_or_else(|| stored.unnamed_run(is_success));
    match stored.status {
        Status::Cancelled => Applied::Cancelled,
        Status::Queued if is_success => Applied::Stored,
        _ if !is_success && run < stored.run => Applied::OlderRun,
        Status::Queued => Applied::Stored,
        Status::Failed if run > stored.run || (is_success && run < stored.run) => Applied::Stored,
        Status::Failed if is_success && stored.was_given_up() => Applied::Stored,
        _ if stored.is_same(new) => Applied::Duplicate,
        _ => Applied::Superseded,
    }
}

/// What became of a result that the database did not store, by what is stored of its request.
pub(crate) fn not_stored(stored: Option<&StoredResult>, new: &WorkerResult) -> Applied {
    match stored.map(|stored| decide(stored, new)) {
        // Without a row, only a tombstone keeps a result from making one.
        None => Applied::Expired,
        // It was final a moment ago and was replayed since, through another web service.
        Some(Applied::Stored) => Applied::Superseded,
        Some(applied) => applied,
    }
}

impl StoredResult {
    /// Whether no worker has said that the work failed: the message was given up, and its worker may have lived.
    fn was_given_up(&self) -> bool {
        self.error_code.as_deref().is_some_and(codes::is_given_up)
    }

    /// The run of a result that does not name it. In SQL, `unnamed_run` says the same.
    fn unnamed_run(&self, is_success: bool) -> u32 {
        match is_success {
            _ if self.noted_run > self.run => self.noted_run,
            true => 0,
            false => self.run,
        }
    }

    /// Whether this is the same result. Our workers say when they finished; a failure also comes twice, as
    /// a parked message and as a result.
    fn is_same(&self, new: &WorkerResult) -> bool {
        let is_identified = new.worker.is_some() && new.finished_at.is_some();
        match (self.status, &new.outcome) {
            (Status::Completed, ResultOutcome::Completed(_)) => {
                is_identified && self.worker == new.worker && self.finished_at == new.finished_at
            }
            (Status::Failed, ResultOutcome::Failed(error)) => {
                new.run.is_none_or(|run| run == self.run)
                    && self.error_code.as_deref() == Some(&error.code)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUED: Status = Status::Queued;
    const COMPLETED: Status = Status::Completed;
    const FAILED: Status = Status::Failed;

    fn stored(status: Status, run: u32) -> StoredResult {
        let error_code = (status == FAILED).then(|| "permanent".to_owned());
        StoredResult {
            status,
            run,
            noted_run: run,
            worker: Some("a:1/1".into()),
            finished_at: Some(Timestamp::from_millis(1000)),
            error_code,
        }
    }

    fn result(status: Status, run: u32) -> WorkerResult {
        let outcome = match status {
            COMPLETED => ResultOutcome::Completed(b"1".as_slice().into()),
            _ => ResultOutcome::Failed(ErrorBody::new("timeout", "")),
        };
        let (started_at, finished_at) =
            (Some(Timestamp::from_millis(1500)), Some(Timestamp::from_millis(2000)));
        let worker = Some("b:1/1".into());
        let (id, run) = (Uuid::nil(), Some(run));
        WorkerResult {
            id,
            request_type: RequestType::DEFAULT,
            outcome,
            run,
            attempt: 1,
            deliveries: 1,
            worker,
            started_at,
            finished_at,
        }
    }

    #[test]
    fn the_first_final_result_of_a_run_wins() {
        for first in [COMPLETED, FAILED] {
            for second in [COMPLETED, FAILED] {
                assert_eq!(decide(&stored(QUEUED, 0), &result(first, 0)), Applied::Stored);
                assert_eq!(decide(&stored(first, 0), &result(second, 0)), Applied::Superseded);
            }
        }
    }

    #[test]
    fn a_failure_of_an_older_run_is_dropped() {
        for status in [QUEUED, COMPLETED, FAILED] {
            assert_eq!(decide(&stored(status, 1), &result(FAILED, 0)), Applied::OlderRun);
        }
    }

    #[test]
    fn a_failure_without_a_run_is_of_the_present_run() {
        let without_run = |status| WorkerResult { run: None, ..result(status, 0) };
        assert_eq!(decide(&stored(QUEUED, 3), &without_run(FAILED)), Applied::Stored);
        assert_eq!(decide(&stored(FAILED, 3), &without_run(FAILED)), Applied::Superseded);
        assert_eq!(decide(&stored(COMPLETED, 3), &without_run(FAILED)), Applied::Superseded);
    }

    #[test]
    fn a_result_without_a_run_is_of_the_replay_that_is_noted() {
        let noted = StoredResult { noted_run: 1, ..stored(FAILED, 0) };
        for status in [COMPLETED, FAILED] {
            let without_run = WorkerResult { run: None, ..result(status, 0) };
            assert_eq!(decide(&noted, &without_run), Applied::Stored);
            assert_eq!(decide(&stored(FAILED, 0), &without_run), Applied::Superseded);
            assert_eq!(decide(&noted, &result(status, 0)), Applied::Superseded);
        }
    }

    #[test]
    fn a_success_beats_that_its_message_was_given_up() {
        for (code, applied) in [
            (codes::POISON, Applied::Stored),
            (codes::DELIVERY_LIMIT, Applied::Stored),
            (codes::EXPIRED, Applied::Stored),
            (codes::TIMEOUT, Applied::Superseded),
        ] {
            let stored = StoredResult { error_code: Some(code.to_owned()), ..stored(FAILED, 1) };
            assert_eq!(decide(&stored, &result(COMPLETED, 1)), applied, "{code}");
            assert_ne!(decide(&stored, &result(FAILED, 1)), Applied::Stored, "{code}");
        }
    }

    #[test]
    fn a_success_of_any_run_completes() {
        assert_eq!(decide(&stored(QUEUED, 1), &result(COMPLETED, 0)), Applied::Stored);
        assert_eq!(decide(&stored(FAILED, 1), &result(COMPLETED, 0)), Applied::Stored);
        assert_eq!(decide(&stored(FAILED, 0), &result(COMPLETED, 1)), Applied::Stored);
        assert_eq!(decide(&stored(COMPLETED, 0), &result(COMPLETED, 1)), Applied::Superseded);
    }

    #[test]
    fn cancelled_is_final() {
        for run in [0, 1] {
            for status in [COMPLETED, FAILED] {
                let stored = stored(Status::Cancelled, 0);
                assert_eq!(decide(&stored, &result(status, run)), Applied::Cancelled);
            }
        }
    }

    #[test]
    fn the_same_result_again_is_told_from_another_one() {
        let again = WorkerResult {
            worker: Some("a:1/1".into()),
            finished_at: Some(Timestamp::from_millis(1000)),
            ..result(COMPLETED, 0)
        };
        assert_eq!(decide(&stored(COMPLETED, 0), &again), Applied::Duplicate);
        let outcome = ResultOutcome::Failed(ErrorBody::new("permanent", "in other words"));
        let again = WorkerResult { outcome, ..result(FAILED, 0) };
        assert_eq!(decide(&stored(FAILED, 0), &again), Applied::Duplicate);
    }
}
