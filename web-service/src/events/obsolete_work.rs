//! Work that nobody needs any more: whoever begins it on a request that has ended is told to stop, and
//! so is who still does it when another one's result ends the request.
//!
//! Of the events that tell of work, only this looks at the store, beside those who listen: what comes
//! too fast, or while the store is away, is passed over. It is heard of again, since workers are asked
//! again and again what they have in hand.

use std::collections::HashSet;

use pipeline::{
    broker::EventPublisher,
    contract::{Control, JobEvent},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use uuid::Uuid;

use crate::events::jobs::job::{Job, Turn};
use store::{Ended, Status, Store, WorkerResult};

/// How many wait to be looked at. What comes beyond is not.
const QUEUE: usize = 1000;
/// How many are looked at at once.
const BATCH: usize = 500;

/// The run of a request that somebody works on.
type Work = (Uuid, u32);

/// Takes in what work has begun.
#[derive(Debug)]
pub struct Begun(mpsc::Sender<Work>);

/// Looks whether it is needed.
#[derive(Debug)]
pub struct Watch(mpsc::Receiver<Work>);

/// The two ends of a queue of work that has begun.
pub fn needless() -> (Begun, Watch) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Begun(sender), Watch(receiver))
}

impl Begun {
    /// Has it looked at, or passes it over if too much waits. Returns at once.
    pub fn note(&self, event: &JobEvent) {
        let Some(id) = event.request_id.uuid() else { return };
        if let Err(error) = self.0.try_send((id, Turn::of(event).run)) {
            debug!(requestId = %id, "not looked whether it has ended: {error}");
        }
    }
}

impl Watch {
    /// Looks at what comes, until told to stop.
    pub async fn run(
        mut self,
        store: Store,
        event_publisher: EventPublisher,
        stop: CancellationToken,
    ) {
        loop {
            let mut begun = Vec::new();
            tokio::select! {
                () = stop.cancelled() => return,
                some = self.0.recv_many(&mut begun, BATCH) => if some == 0 { return },
            }
            let begun: HashSet<Work> = begun.into_iter().collect();
            let ids: HashSet<Uuid> = begun.iter().map(|(id, _)| *id).collect();
            match store.ended(ids.into_iter().collect()).await {
                Ok(ended) => ended.iter().for_each(|ended| tell(&event_publisher, ended, &begun)),
                Err(error) => debug!(works = begun.len(), "not looked at: {error}"),
            }
        }
    }
}

/// Tells those who work on a request that has ended to stop, where that is so.
fn tell(event_publisher: &EventPublisher, ended: &Ended, begun: &HashSet<Work>) {
    let works = begun.iter().filter(|(id, _)| *id == ended.id);
    if let Some(run) = works.filter_map(|(_, run)| needed_no_more(ended.how, *run)).max() {
        debug!(requestId = %ended.id, run, "the work on it is told to stop: it has ended");
        let cancel = Control::Cancel(ended.id.into(), Some(run.into()));
        event_publisher.try_publish(&cancel.message());
    }
}

/// Up to which run nobody needs the work that somebody was at when a result ended the request, unless
/// that is his own.
pub fn of_another(ending: &WorkerResult, work: &Job) -> Option<u32> {
    // A failure that does not say its run is that of the present one.
    let how = (ending.end.status(), ending.run.unwrap_or(0));
    let is_another = work.worker != ending.worker;
    is_another.then(|| needed_no_more(Some(how), work.turn.run))?
}

/// Up to which run nobody needs the work, if that is so for the run that somebody works on. A failed
/// request may have been replayed a moment ago, and its next run begun before that was committed;
/// what ended otherwise is not replayed. What is not stored at all has expired.
fn needed_no_more(how: Option<(Status, u32)>, begun: u32) -> Option<u32> {
    match how {
        Some((Status::Queued, _)) => None,
        Some((Status::Failed, run)) => (run >= begun).then_some(run),
        Some((Status::Completed | Status::Cancelled, run)) => Some(run.max(begun)),
        None => Some(begun),
    }
}

#[cfg(test)]
mod tests {
    use pipeline::contract::{ErrorBody, Timestamp};

    use super::*;
    use store::ResultOutcome;

    #[test]
    fn work_on_what_has_ended_is_stopped() {
        for status in [Status::Completed, Status::Failed, Status::Cancelled] {
            assert_eq!(needed_no_more(Some((status, 1)), 1), Some(1));
            assert_eq!(needed_no_more(Some((status, 2)), 1), Some(2), "{status:?}");
        }
        assert_eq!(needed_no_more(None, 3), Some(3), "it has expired");
    }

    #[test]
    fn a_replay_that_is_under_way_is_left_alone() {
        assert_eq!(needed_no_more(Some((Status::Failed, 0)), 1), None);
        assert_eq!(needed_no_more(Some((Status::Queued, 0)), 0), None);
        assert_eq!(
            needed_no_more(Some((Status::Cancelled, 0)), 1),
            Some(1),
            "it is never replayed"
        );
    }

    /// Up to which run work of `b` in run 1 is stopped.
    fn stopped(end: ResultOutcome, run: Option<u32>, worker: &str) -> Option<u32> {
        let ending = WorkerResult {
            id: Uuid::nil(),
            end,
            run,
            attempt: 1,
            deliveries: 1,
            worker: Some(worker.to_owned()),
            started_at: None,
            finished_at: None,
        };
        let turn = Turn { run: 1, attempt: 1, delivery: 2 };
        let worker = Some("b".to_owned());
        of_another(
            &ending,
            &Job { turn, worker, started_at: Some(Timestamp::from_millis(1)), progress: None },
        )
    }

    #[test]
    fn whoever_works_on_what_another_has_ended_is_stopped() {
        let completed = || ResultOutcome::Completed(b"1"[..].into());
        let failed = || ResultOutcome::Failed(ErrorBody::new("permanent", "no"));
        assert_eq!(stopped(completed(), Some(1), "b"), None, "it was the same worker");
        assert_eq!(stopped(completed(), Some(0), "a"), Some(1));
        assert_eq!(stopped(completed(), None, "a"), Some(1));
        assert_eq!(stopped(failed(), Some(1), "a"), Some(1));
        assert_eq!(stopped(failed(), Some(0), "a"), None, "it is being replayed");
        assert_eq!(stopped(failed(), None, "a"), None);
    }
}
