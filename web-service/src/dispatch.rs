//! Dispatch: publishes requests to the broker, waits for the confirm, and records them in the store.

pub mod accept;
pub mod accept_batch;
pub mod availability;
pub(crate) mod known_type;
pub mod record_later;
pub mod replay;
pub mod request_data;
pub mod retry_now;
pub mod submission;

use std::time::Duration;

use pipeline::{
    broker::{LockState, Publisher},
    topology::RequestTypes,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    dispatch::{availability::StoreAvailability, record_later::DeferredRecorder},
    metrics::Metrics,
};
use store::Store;

/// What it takes to accept and to replay requests.
pub struct Dispatch {
    /// Publishes request messages.
    pub publisher: Publisher,
    /// `TYPES`: for which there are queues.
    pub types: RequestTypes,
    /// `PUBLISH_TIMEOUT`: the longest time from the call to its answer.
    pub timeout: Duration,
    /// Where requests are recorded.
    pub store: Store,
    /// Whether requests can be recorded now.
    pub availability: StoreAvailability,
    /// Records the requests that the store did not take within the timeout.
    pub deferred: DeferredRecorder,
    /// Where accepted requests are counted.
    pub metrics: Metrics,
}

impl Dispatch {
    /// A dispatch that records in `store`, where only the holder of `lock` may write, if there is one.
    /// Rows that are late are given up when `stop` is cancelled.
    pub fn new(
        publisher: Publisher,
        types: RequestTypes,
        timeout: Duration,
        store: Store,
        lock: Option<watch::Receiver<LockState>>,
        stop: CancellationToken,
        metrics: Metrics,
    ) -> Self {
        let availability = StoreAvailability::new(store.clone(), lock);
        let deferred = DeferredRecorder::new(store.clone(), stop);
        Self { publisher, types, timeout, store, availability, deferred, metrics }
    }
}
