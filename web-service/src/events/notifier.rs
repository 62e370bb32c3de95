//! News of requests that have ended: told to those who wait here, and to the other web services.

use pipeline::{
    broker::EventPublisher,
    contract::{Control, Event, FinalStatus, FinishedRequest, Timestamp},
};
use uuid::Uuid;

use crate::events::{jobs::Jobs, obsolete_work, waiters::Waiters};
use store::{Applied, Status, WorkerResult};

/// Tells what was committed.
#[derive(Clone)]
pub struct News {
    /// Who waits here.
    pub waiters: Waiters,
    /// Who works on what, as far as it is known here.
    pub jobs: Jobs,
    /// For those elsewhere. They may miss it, and look by themselves.
    pub event_publisher: EventPublisher,
}

impl News {
    /// Tells what became of results: who waits for a request is woken if it is final now, or gone;
    /// the other web services hear of what is new. A result that is stored already may never have been
    /// told of: the answer to its commit, or the whole service, may have been lost.
    pub fn tell<'a>(&self, results: impl Iterator<Item = (&'a WorkerResult, &'a Applied)> + Clone) {
        let over = |(ending, applied): (&WorkerResult, &Applied)| {
            let goes_on = matches!(applied, Applied::OlderRun | Applied::BadRow(_));
            (!goes_on).then_some(ending.id)
        };
        let works = self.jobs.ended(results.clone().filter_map(over));
        self.waiters.wake(results.clone().filter_map(over));
        let known =
            results.filter(|(_, applied)| matches!(applied, Applied::Stored | Applied::Duplicate));
        let ended: Vec<_> = known
            .clone()
            .filter_map(|(ending, _)| {
                let status = final_status(ending.end.status())?;
                Some(FinishedRequest { request_id: ending.id, status })
            })
            .collect();
        self.try_publish(&ended);
        for (ending, _) in known {
            if let Some(run) =
                works.get(&ending.id).and_then(|work| obsolete_work::of_another(ending, work))
            {
                self.stop(ending.id, run);
            }
        }
    }

    /// Tells that a request was cancelled in this run: as of any other end, and whoever works on it is
    /// to stop. A worker that misses this is told when it says what it has in hand; it is asked for that
    /// as long as it claims the work, which therefore stays noted.
    pub fn cancelled(&self, id: Uuid, run: u32) {
        // Work of a later run, which only another program can have begun, is not wanted either.
        let run = self.jobs.get(id).map_or(run, |job| job.turn.run.max(run));
        self.waiters.wake([id]);
        self.try_publish(&[FinishedRequest { request_id: id, status: FinalStatus::Cancelled }]);
        self.stop(id, run);
    }

    /// Tells that a request was replayed. What is known of work on its earlier runs is forgotten.
    pub fn replayed(&self, id: Uuid) {
        self.jobs.ended([id]);
        self.waiters.wake([id]);
    }

    /// Tells whoever works on a request, in this run or an earlier one, to stop.
    fn stop(&self, id: Uuid, run: u32) {
        let cancel = Control::Cancel(id.into(), Some(run.into()));
        self.event_publisher.try_publish(&cancel.message());
    }

    fn try_publish(&self, ended: &[FinishedRequest]) {
        for event in Event::finished(Timestamp::now(), ended) {
            self.event_publisher.try_publish(&event.message());
        }
    }
}

fn final_status(status: Status) -> Option<FinalStatus> {
    match status {
        Status::Completed => Some(FinalStatus::Completed),
        Status::Failed => Some(FinalStatus::Failed),
        Status::Cancelled => Some(FinalStatus::Cancelled),
        Status::Queued => None,
    }
}
