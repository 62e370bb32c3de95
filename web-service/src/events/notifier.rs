//! Notifier: tells waiters here and the other web services which requests have ended, and workers to stop.

use pipeline::{
    broker::EventPublisher,
    contract::{Control, FinalStatus, FinishedRequest},
};
use uuid::Uuid;

use crate::{
    events::{finished_events::FinishedEvents, jobs::RunningJobs, obsolete_work, waiters::Waiters},
    metrics::Metrics,
};
use store::{Applied, Status, WorkerResult};

/// Tells what was committed to the store. Clones share everything.
#[derive(Clone)]
pub struct Notifier {
    /// Who waits for which request.
    pub waiters: Waiters,
    /// Who works on which request.
    pub jobs: RunningJobs,
    /// For the other web services. They may miss an event, and also look at the store by themselves.
    finished_events: FinishedEvents,
    event_publisher: EventPublisher,
    metrics: Metrics,
}

impl Notifier {
    /// A notifier that wakes `waiters` and updates `jobs`.
    pub fn new(
        waiters: Waiters,
        jobs: RunningJobs,
        event_publisher: EventPublisher,
        metrics: Metrics,
    ) -> Self {
        let finished_events = FinishedEvents::new(event_publisher.clone());
        Self { waiters, jobs, finished_events, event_publisher, metrics }
    }

    /// Tells what became of results: wakes who waits for a request that is final or gone now, with the result if that tells all, publishes
    /// `requests.finished`, and stops workers whose work is obsolete.
    ///
    /// A duplicate is published too: the commit's answer, or the whole web service, may have been lost
    /// before anybody was told of the first one.
    pub fn notify_results<'a>(
        &self,
        results: impl Iterator<Item = (&'a WorkerResult, &'a Applied)> + Clone,
    ) {
        for (result, applied) in results.clone() {
            self.metrics.applied(result, applied);
        }
        let ended = results.clone().filter(|(_, applied)| has_ended(applied));
        let ended = ended.map(|(result, _)| result.id);
        let jobs = self.jobs.ended(ended.clone());
        // Who waits for a request with a history reads the store, which knows more.
        for (result, _) in results.clone().filter(|(_, applied)| **applied == Applied::Stored) {
            self.waiters.tell(result);
        }
        self.waiters.wake(ended);
        let stored = results
            .filter(|(_, applied)| applied.is_stored() || **applied == Applied::Duplicate)
            .map(|(result, _)| result);
        let finished = stored.clone().filter_map(finished).collect();
        self.finished_events.publish(finished);
        for result in stored {
            let job = jobs.get(&result.id);
            if let Some(run) = job.and_then(|job| obsolete_work::obsolete_by(result, job)) {
                self.publish_cancel(result.id, run);
            }
        }
    }

    /// Tells that a request was cancelled in this run, and stops its worker. A worker that misses the
    /// message is told again when it answers `who`; so that it is asked, its job stays registered.
    pub fn notify_cancelled(&self, id: Uuid, run: u32) {
        // Work of a later run, which only another program can have begun, is obsolete too.
        let run = self.jobs.get(id).map_or(run, |job| job.execution.run.max(run));
        self.waiters.wake([id]);
        let status = FinalStatus::Cancelled;
        self.finished_events.publish(vec![FinishedRequest { request_id: id, status }]);
        self.publish_cancel(id, run);
    }

    /// Tells that a request was replayed after this run. What is known of work on it is forgotten; work on the new run may have
    /// been told of already, if the store was slow to record it.
    pub fn notify_replayed(&self, id: Uuid, run: u32) {
        self.jobs.forget_until(id, run);
        self.waiters.wake([id]);
    }

    /// Tells that the next attempt at a request begins at once, in this run: nobody need work on the copy that waits in
    /// the broker.
    pub fn notify_retried_now(&self, id: Uuid, run: u32) {
        self.waiters.wake([id]);
        self.publish_cancel(id, run.saturating_sub(1));
    }

    /// Tells whoever works on a request, in this run or an earlier one, to stop.
    fn publish_cancel(&self, id: Uuid, run: u32) {
        let cancel = Control::Cancel(id.into(), Some(run.into()));
        self.event_publisher.try_publish(cancel.message());
    }
}

/// Whether the request of a result is final now, or gone.
fn has_ended(applied: &Applied) -> bool {
    !matches!(applied, Applied::OlderRun | Applied::BadRow(_))
}

fn finished(result: &WorkerResult) -> Option<FinishedRequest> {
    let status = match result.outcome.status() {
        Status::Completed => FinalStatus::Completed,
        Status::Failed => FinalStatus::Failed,
        Status::Cancelled => FinalStatus::Cancelled,
        Status::Queued => return None,
    };
    Some(FinishedRequest { request_id: result.id, status })
}
