//! What the workers have in hand: how others learn of it, and how it is found when it is to end.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use pipeline::{
    broker::EventPublisher,
    contract::{ErrorBody, Event, JobEvent, JobEventName, RequestId},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Work that is done sooner is not announced: nobody could do anything with the news.
const SLOW: Duration = Duration::from_millis(100);

/// The requests in hand, one for each worker that has one. Clones are the same list.
#[derive(Clone)]
pub struct InHand {
    jobs: Arc<Mutex<HashMap<String, Entry>>>,
    event_publisher: EventPublisher,
}

/// A request in the list.
struct Entry {
    started: JobEvent,
    /// Whether it is worked on; before that it waits for its turn here.
    begun: bool,
    cancelled: CancellationToken,
}

/// A request in hand, until this is dropped.
pub struct Held {
    all: InHand,
    worker: String,
    cancelled: CancellationToken,
}

impl InHand {
    /// Nothing in hand yet; what will be is announced here.
    pub fn new(event_publisher: EventPublisher) -> Self {
        Self { jobs: Arc::default(), event_publisher }
    }

    /// Takes a request in hand; `started` is what is told of it once it is worked on.
    pub fn take(&self, started: JobEvent) -> Held {
        let (worker, cancelled) = (started.worker.clone(), CancellationToken::new());
        let entry = Entry { started, begun: false, cancelled: cancelled.clone() };
        self.jobs().insert(worker.clone(), entry);
        Held { all: self.clone(), worker, cancelled }
    }

    /// Announces everything that is worked on, however short it may take. False if some of it could not
    /// be sent.
    pub fn announce_all(&self) -> bool {
        let jobs = self.jobs();
        let begun = jobs.values().filter(|job| job.begun);
        begun.filter(|job| !self.try_publish(&job.started)).count() == 0
    }

    /// Asks the work on a request to end, if it belongs to this run or an earlier one.
    pub fn cancel(&self, id: &RequestId, run: Option<i64>) {
        let meant = |job: &&Entry| {
            job.started.request_id == *id && run.is_none_or(|run| job.started.run <= run)
        };
        self.jobs().values().filter(meant).for_each(|job| job.cancelled.cancel());
    }

    fn try_publish(&self, event: &JobEvent) -> bool {
        self.event_publisher.try_publish(&Event::Job(event.clone()).message())
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Says that the work begins now.
    pub fn begin(&self, at: SystemTime) {
        if let Some(job) = self.all.jobs().get_mut(&self.worker) {
            (job.begun, job.started.at) = (true, at.into());
        }
    }

    /// Announces the request when it is slow, or at once: then others have tried it before, and
    /// believe perhaps that they still do. Never ends, so as to run beside the work.
    pub async fn announced(&self, at_once: bool) -> Infallible {
        if !at_once {
            sleep(SLOW).await;
        }
        self.tell(|_| {});
        pending().await
    }

    /// Announces that the request is tried again.
    pub fn announce_retrying(&self, error: ErrorBody, at: SystemTime) {
        self.tell(|event| {
            event.event = JobEventName::Retrying;
            event.at = SystemTime::now().into();
            event.error = Some(error);
            event.next_attempt_at = Some(at.into());
        });
    }

    /// Waits until nobody wants the request any more.
    pub async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }

    fn tell(&self, change: impl FnOnce(&mut JobEvent)) {
        let event = self.all.jobs().get(&self.worker).map(|job| job.started.clone());
        if let Some(mut event) = event {
            change(&mut event);
            self.all.try_publish(&event);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.jobs().remove(&self.worker);
    }
}
