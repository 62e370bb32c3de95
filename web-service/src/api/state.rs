//! What handlers share.

use std::sync::Arc;

use pipeline::{
    broker::{Broker, LockState},
    health::Readiness,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    dispatch::Dispatch,
    events::{jobs::Jobs, notifier::News, waiters::Waiters},
    webhooks::Rules,
};
use store::Store;

/// What the broker shows as the maker of our messages.
pub const PROGRAM: &str = "web-service";

/// What handlers share.
pub struct State {
    /// For accepting and replaying requests.
    pub dispatch: Dispatch,
    /// Where requests live.
    pub store: Store,
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
        let dispatch = Dispatch::new(
            broker.publisher(),
            config.publish_timeout,
            store.clone(),
            lock,
            drain.clone(),
        );
        let event_publisher = broker.event_publisher();
        let news = News { waiters: waiters.clone(), jobs: jobs.clone(), event_publisher };
        let callbacks = config.callback_rules();
        Self { dispatch, store, waiters, jobs, news, callbacks, drain, broker }
    }

    /// What the service needs, and whether it has it.
    pub fn readiness(&self) -> Readiness {
        let store = self.dispatch.availability.check();
        Readiness::of(self.broker.health().into_iter().chain([("store", store)]))
    }
}
