//! What a backend hands over when it is opened: the queues that it takes commands from, and its health.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use crate::{
    command::{Read, Write},
    health::HealthMonitor,
};

/// How many commands wait in a queue before callers have to wait.
pub(crate) const QUEUE_CAPACITY: usize = 2048;

/// The size of the parts of a large batch: PostgreSQL gets each in a statement of its own, and callers wait
/// longer for each.
pub(crate) const BATCH_PART_BYTES: usize = 8 << 20;

/// An open backend.
#[derive(Clone)]
pub(crate) struct Backend {
    /// Writes on which an answer to a client waits: a backend that can do two writes at once takes them
    /// apart from the others.
    pub(crate) urgent_writes: mpsc::Sender<Write>,
    pub(crate) writes: mpsc::Sender<Write>,
    pub(crate) reads: mpsc::Sender<Read>,
    pub(crate) health: HealthMonitor,
    /// Closed when the last thread or task of the backend has ended.
    pub(crate) stopped: watch::Receiver<()>,
    /// Stops, when dropped, what does not end when the queues are closed.
    pub(crate) _tasks: Arc<dyn Send + Sync>,
}

impl Backend {
    /// Closes the queues and waits until the backend has stopped, if this is the last clone of it.
    pub(crate) async fn close(self, limit: Duration) {
        let Self { urgent_writes, writes, reads, mut stopped, _tasks, .. } = self;
        drop((urgent_writes, writes, reads));
        let has_stopped = async { while stopped.changed().await.is_ok() {} };
        let _ = timeout(limit, has_stopped).await;
    }
}
