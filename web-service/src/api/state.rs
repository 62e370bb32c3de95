//! The state that all handlers share.

use std::sync::Arc;

use pipeline::{
    broker::{Broker, CountedQueues},
    health::{QueueCounts, Readiness},
    topology::{RequestType, RequestTypes},
};
use store::{Health, Store};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{
        http::body_memory::BodyMemory, requests::submission_rules::SubmissionRules,
        shared_overview::SharedOverview,
    },
    dispatch::Dispatch,
    events::{jobs::RunningJobs, notifier::Notifier, waiters::Waiters, worker_watch::WorkerWatch},
    metrics::{Metrics, Present},
};

/// The state that all handlers share.
pub(crate) struct State {
    /// Accepts and replays requests.
    pub(crate) dispatch: Dispatch,
    /// Where requests are stored.
    pub(crate) store: Store,
    /// Wakes callers that wait for the end of a request.
    pub(crate) waiters: Waiters,
    /// Which requests are being worked on.
    pub(crate) jobs: RunningJobs,
    /// Notifies callers, workers and other web services of what was committed here.
    pub(crate) notifier: Notifier,
    /// Which types and `callbackUrl`s are accepted.
    pub(crate) submissions: SubmissionRules,
    /// `BODY_LIMIT`, in bytes.
    pub(crate) body_limit: usize,
    /// The memory for request bodies.
    pub(crate) body_memory: BodyMemory,
    /// How many requests there are, read from the store for all callers together.
    pub(crate) overview: SharedOverview,
    /// Notified when a bulk run may be due.
    pub(crate) bulk_run_due: Notify,
    /// Cancelled when the service stops: no caller may wait any longer.
    pub(crate) drain: CancellationToken,
    broker: Arc<Broker>,
    workers: WorkerWatch,
    metrics: Metrics,
}

impl State {
    /// A state over these parts. `body_limit` is in bytes; `drain` is cancelled when the service stops.
    pub(crate) fn new(
        broker: Arc<Broker>,
        workers: WorkerWatch,
        dispatch: Dispatch,
        notifier: Notifier,
        submissions: SubmissionRules,
        body_limit: usize,
        drain: CancellationToken,
    ) -> Self {
        let (store, metrics) = (dispatch.store.clone(), dispatch.metrics.clone());
        let (waiters, jobs) = (notifier.waiters.clone(), notifier.jobs.clone());
        let body_memory = BodyMemory::default();
        Self {
            dispatch,
            store,
            waiters,
            jobs,
            notifier,
            submissions,
            body_limit,
            body_memory,
            overview: SharedOverview::default(),
            bulk_run_due: Notify::new(),
            drain,
            broker,
            workers,
            metrics,
        }
    }

    /// What was counted last in the queues of requests together, if it is known of all.
    pub(crate) fn queue_counts(&self) -> Option<QueueCounts> {
        self.workers.counts()
    }

    /// What was counted last in the queue of requests of this type, if it is known.
    pub(crate) fn queue_counts_of(&self, request_type: &RequestType) -> Option<QueueCounts> {
        self.workers.counts_of(request_type)
    }

    /// The types for which there are queues.
    pub(crate) fn types(&self) -> &RequestTypes {
        &self.submissions.types
    }

    /// The metrics as text.
    pub(crate) fn metrics_text(&self) -> String {
        self.broker.update_metrics();
        self.metrics.text(&Present {
            queues: self.counted_queues(),
            in_hand: self.jobs.counts_by_type(),
            is_store_up: matches!(*self.store.health().borrow(), Health::Up),
        })
    }

    /// What was counted last in the queues.
    pub(crate) fn counted_queues(&self) -> CountedQueues {
        self.broker.counted_queues().borrow().clone()
    }

    /// The parts that the service needs: those of the broker, and the store. And the workers, without which it is ready all
    /// the same.
    pub(crate) fn readiness(&self) -> Readiness {
        let own = [("store", self.dispatch.availability.part()), ("workers", self.workers.part())];
        Readiness::of(self.broker.health().into_iter().chain(own))
    }
}
