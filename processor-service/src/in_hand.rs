//! What the workers have in hand, and how others learn of it.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pipeline::{
    broker::Announcer,
    contract::{Event, JobEvent},
};
use tokio::time::sleep;

use crate::outcome::NAME;

/// Work that is done sooner is not announced: nobody could do anything with the news.
const SLOW: Duration = Duration::from_millis(100);

/// The requests in hand, one for each worker that has one. Clones are the same list.
#[derive(Clone)]
pub struct InHand {
    jobs: Arc<Mutex<HashMap<String, JobEvent>>>,
    announcer: Announcer,
}

/// A request in hand, until this is dropped.
pub struct Held {
    all: InHand,
    started: JobEvent,
}

impl InHand {
    /// Nothing in hand yet; what will be is announced here.
    pub fn new(announcer: Announcer) -> Self {
        Self { jobs: Arc::default(), announcer }
    }

    /// Takes a request in hand; `started` is what is told of it.
    pub fn take(&self, started: JobEvent) -> Held {
        self.jobs().insert(started.worker.clone(), started.clone());
        Held { all: self.clone(), started }
    }

    /// Announces everything in hand, however short it may take.
    pub fn announce_all(&self) {
        self.jobs().values().for_each(|started| self.announce(started));
    }

    fn announce(&self, started: &JobEvent) {
        self.announcer.announce(&Event::Job(started.clone()).message(NAME));
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<String, JobEvent>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Announces the request when it is slow, or at once: then others have tried it before, and
    /// believe perhaps that they still do. Never ends, so as to run beside the work.
    pub async fn announced(&self, at_once: bool) -> Infallible {
        if !at_once {
            sleep(SLOW).await;
        }
        self.all.announce(&self.started);
        pending().await
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.jobs().remove(&self.started.worker);
    }
}
