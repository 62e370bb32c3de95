//! What handlers share.

use std::{sync::Arc, time::Duration};

use pipeline::{
    broker::{Broker, LockState, Publisher},
    health::{Part, Readiness},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    dispatch::record_later::Late,
    events::{jobs::Jobs, notifier::News, waiters::Waiters},
    webhooks::Rules,
};
use store::{Health, Store};

/// What the broker shows as the maker of our messages.
pub const PROGRAM: &str = "web-service";

/// What handlers share.
pub struct State {
    /// For handing requests to the broker.
    pub publisher: Publisher,
    /// How long a caller waits for an answer at most, if it does not ask to wait for the result.
    pub publish_timeout: Duration,
    /// Where requests live.
    pub store: Store,
    /// For what the broker has, and the store not yet.
    pub late: Late,
    /// Who waits for news of a request.
    pub waiters: Waiters,
    /// Who works on what.
    pub jobs: Jobs,
    /// For telling what was committed here.
    pub news: News,
    /// What is asked of callbacks.
    pub callbacks: Rules,
    /// Cancelled when nobody is to wait any longer.
    pub drain: CancellationToken,
    broker: Arc<Broker>,
    lock: Option<watch::Receiver<LockState>>,
}

impl State {
    /// A state that publishes through `broker`.
    pub fn new(
        broker: Arc<Broker>,
        store: Store,
        waiters: Waiters,
        jobs: Jobs,
        config: &Config,
        drain: CancellationToken,
        lock: Option<watch::Receiver<LockState>>,
    ) -> Self {
        let (publisher, late) = (broker.publisher(), Late::new(store.clone(), drain.clone()));
        let event_publisher = broker.event_publisher();
        let news = News { waiters: waiters.clone(), jobs: jobs.clone(), event_publisher };
        let (publish_timeout, callbacks) = (config.publish_timeout, config.callback_rules());
        Self {
            publisher,
            publish_timeout,
            store,
            late,
            waiters,
            jobs,
            news,
            callbacks,
            drain,
            broker,
            lock,
        }
    }

    /// What the service needs, and whether it has it.
    pub fn readiness(&self) -> Readiness {
        Readiness::of(self.broker.health().into_iter().chain([("store", self.store_part())]))
    }

    /// Whether requests can be recorded now, and else why not.
    pub fn store_part(&self) -> Part {
        match &*self.store.health().borrow() {
            Health::Up => self.sole(),
            Health::Opening => Part::missing("it is being opened"),
            Health::Away(reason) => Part::missing(reason.clone()),
        }
    }

    /// A store in a file is for one web service alone.
    fn sole(&self) -> Part {
        match self.lock.as_ref().map(|lock| lock.borrow().clone()) {
            None | Some(LockState::Held) => Part::ok("it answers"),
            Some(LockState::NotAllowed(reason)) => Part::ok(format!(
                "it answers; whether another web service uses SQLite on this virtual host can't be seen ({reason})"
            )),
            Some(LockState::Waiting(reason)) => Part::missing(format!(
                "whether this is the only web service with SQLite on the virtual host is not known: {reason}"
            )),
            Some(LockState::Taken) => Part::missing(
                "only one web service at a time can use SQLite on a virtual host, and another one does; \
                 for several, set DATABASE_URL=postgres://...",
            ),
        }
    }
}
