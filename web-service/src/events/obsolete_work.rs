//! Obsolete work: tells workers to stop working on requests, or runs of requests, that have ended.
//!
//! For each `request.started` event this looks at the store whether the request has ended. Events that come
//! too fast, or while the store is away, are dropped: workers are asked again and again what they work on.

use std::collections::HashSet;

use pipeline::{
    broker::EventPublisher,
    contract::{Control, JobEvent},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;
use uuid::Uuid;

use crate::events::{
    jobs::job::{ExecutionId, Job},
    lossy_queue::{BatchReceiver, LossySender, lossy_queue},
};
use store::{End, Ended, Status, Store, WorkerResult};

/// A request and the run of it that somebody works on.
type Work = (Uuid, u32);

/// Passes on what work has begun.
#[derive(Debug)]
pub struct ObsoleteWorkSender(LossySender<Work>);

/// Looks whether that work is obsolete, and cancels it.
#[derive(Debug)]
pub struct ObsoleteWorkTask(BatchReceiver<Work>);

/// The two ends of a queue of work that has begun.
pub fn obsolete_work() -> (ObsoleteWorkSender, ObsoleteWorkTask) {
    let (sender, receiver) = lossy_queue();
    (ObsoleteWorkSender(sender), ObsoleteWorkTask(receiver))
}

impl ObsoleteWorkSender {
    /// Has the work of a `request.started` event looked at, or drops it if too much waits. Returns at
    /// once.
    pub fn try_send(&self, event: &JobEvent) {
        let Some(id) = event.request_id.uuid() else { return };
        if let Err(error) = self.0.try_send((id, ExecutionId::of(event).run)) {
            debug!(requestId = %id, "not checked whether the work is obsolete: {error}");
        }
    }
}

impl ObsoleteWorkTask {
    /// Looks at what comes, until told to stop.
    pub async fn run(
        mut self,
        store: Store,
        event_publisher: EventPublisher,
        stop: CancellationToken,
    ) {
        while let Some(started) = self.0.next_batch(&stop).await {
            let started: HashSet<Work> = started.into_iter().collect();
            let ids: HashSet<Uuid> = started.iter().map(|(id, _)| *id).collect();
            match store.ended(ids.into_iter().collect()).await {
                Ok(ended) => ended.iter().for_each(|end| cancel(&event_publisher, end, &started)),
                Err(error) => {
                    debug!(count = started.len(), "not checked whether work is obsolete: {error}");
                }
            }
        }
    }
}

/// Tells those who work on a request that has ended to stop, if that work is obsolete.
fn cancel(event_publisher: &EventPublisher, ended: &Ended, started: &HashSet<Work>) {
    let runs = started.iter().filter(|(id, _)| *id == ended.id).map(|(_, run)| *run);
    if let Some(run) = runs.filter_map(|run| obsolete_up_to_run(ended.end, run)).max() {
        debug!(requestId = %ended.id, run, "cancelling obsolete work");
        let cancel = Control::Cancel(ended.id.into(), Some(run.into()));
        event_publisher.try_publish(cancel.message());
    }
}

/// Up to which run work is obsolete once `result` is stored, if `job` is the work of another worker.
pub fn obsolete_by(result: &WorkerResult, job: &Job) -> Option<u32> {
    if job.worker == result.worker {
        return None;
    }
    // A failure that does not name its run is of the present one.
    let code = result.outcome.error().map(|error| error.code.as_str());
    let end = End::new(result.outcome.status(), result.run.unwrap_or(0), code);
    obsolete_up_to_run(Some(end), job.execution.run)
}

/// Up to which run work is obsolete, if the work in run `started` is. `end` is how the stored request ended;
/// none if the request is not stored, which means that it has expired.
///
/// Work on an earlier run than the present one is obsolete: the broker has confirmed the message of the present one. A
/// failed request may have been replayed a moment ago, and work on its next run may have begun before the
/// replay was committed. A request that ended otherwise is never replayed. Work on a request that was given up
/// goes on: nobody knows that it is in vain, and its success would count.
fn obsolete_up_to_run(end: Option<End>, started: u32) -> Option<u32> {
    let Some(End { status, run, is_given_up }) = end else { return Some(started) };
    match status {
        Status::Queued => (run > started).then(|| run - 1),
        Status::Failed if is_given_up => (run > started).then(|| run - 1),
        Status::Failed => (run >= started).then_some(run),
        Status::Completed | Status::Cancelled => Some(run.max(started)),
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{
        contract::{ErrorBody, Timestamp},
        topology::RequestType,
    };

    use super::*;
    use store::ResultOutcome;

    fn end(status: Status, run: u32) -> Option<End> {
        Some(End::new(status, run, (status == Status::Failed).then_some("permanent")))
    }

    #[test]
    fn work_on_an_ended_request_is_obsolete() {
        for status in [Status::Completed, Status::Failed, Status::Cancelled] {
            assert_eq!(obsolete_up_to_run(end(status, 1), 1), Some(1));
            assert_eq!(obsolete_up_to_run(end(status, 2), 1), Some(2), "{status:?}");
        }
        assert_eq!(obsolete_up_to_run(None, 3), Some(3), "it has expired");
    }

    #[test]
    fn work_on_a_replay_is_not_obsolete() {
        assert_eq!(obsolete_up_to_run(end(Status::Failed, 0), 1), None);
        assert_eq!(obsolete_up_to_run(end(Status::Queued, 0), 0), None);
        assert_eq!(
            obsolete_up_to_run(end(Status::Cancelled, 0), 1),
            Some(1),
            "it is never replayed"
        );
    }

    #[test]
    fn work_on_an_earlier_run_than_the_present_one_is_obsolete() {
        let obsolete = |started| obsolete_up_to_run(end(Status::Queued, 2), started);
        assert_eq!([0, 1, 2, 3].map(obsolete), [Some(1), Some(1), None, None]);
    }

    #[test]
    fn work_on_a_request_that_was_given_up_goes_on() {
        for code in ["poison", "delivery_limit", "expired"] {
            let given_up = Some(End::new(Status::Failed, 1, Some(code)));
            let obsolete = |started| obsolete_up_to_run(given_up, started);
            assert_eq!([0, 1, 2].map(obsolete), [Some(0), None, None], "{code}");
            let first_run = Some(End::new(Status::Failed, 0, Some(code)));
            assert_eq!(obsolete_up_to_run(first_run, 0), None, "{code}");
        }
    }

    /// Up to which run the work of worker `b` in run 1 is obsolete.
    fn obsolete(end: ResultOutcome, run: Option<u32>, worker: &str) -> Option<u32> {
        let result = WorkerResult {
            id: Uuid::nil(),
            request_type: RequestType::DEFAULT,
            outcome: end,
            run,
            attempt: 1,
            deliveries: 1,
            worker: Some(worker.to_owned()),
            started_at: None,
            finished_at: None,
        };
        let execution = ExecutionId { run: 1, attempt: 1, delivery: 2 };
        let worker = Some("b".to_owned());
        obsolete_by(
            &result,
            &Job {
                execution,
                request_type: RequestType::DEFAULT,
                worker,
                started_at: Some(Timestamp::from_millis(1)),
                progress: None,
            },
        )
    }

    #[test]
    fn a_result_makes_the_work_of_another_worker_obsolete() {
        let completed = || ResultOutcome::Completed(b"1"[..].into());
        let failed = || ResultOutcome::Failed(ErrorBody::new("permanent", "no"));
        assert_eq!(obsolete(completed(), Some(1), "b"), None, "it is the worker's own result");
        assert_eq!(obsolete(completed(), Some(0), "a"), Some(1));
        assert_eq!(obsolete(completed(), None, "a"), Some(1));
        assert_eq!(obsolete(failed(), Some(1), "a"), Some(1));
        assert_eq!(obsolete(failed(), Some(0), "a"), None, "it is being replayed");
        assert_eq!(obsolete(failed(), None, "a"), None);
    }
}
