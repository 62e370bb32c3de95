//! What a backend hands over when it is opened: the queues that it takes commands from, and its health.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinHandle},
    time::timeout,
};

use crate::{
    command::{Read, Write},
    health::HealthMonitor,
};

/// How many commands wait in a queue before callers have to wait.
pub(crate) const QUEUE_CAPACITY: usize = 2048;

/// The size of the parts of a large batch: PostgreSQL gets each in a statement of its own.
pub(crate) const BATCH_PART_BYTES: usize = 8 << 20;

/// An open backend.
#[derive(Clone)]
pub(crate) struct Backend {
    /// Writes that accept requests. A backend that can do several writes at once takes those of each queue apart from
    /// the others.
    pub(crate) urgent_writes: mpsc::Sender<Write>,
    /// Other writes on which an answer to a client waits. One may have to wait for a lock.
    pub(crate) client_writes: mpsc::Sender<Write>,
    /// Writes for which no client waits. They may be slow.
    pub(crate) background_writes: mpsc::Sender<Write>,
    pub(crate) reads: mpsc::Sender<Read>,
    pub(crate) health: HealthMonitor,
    /// Closed when the last thread or task of the backend has ended.
    pub(crate) stopped: watch::Receiver<()>,
    /// What does not end when the queues are closed.
    pub(crate) _tasks: Arc<Tasks>,
}

/// The tasks of a backend. They are aborted when its last clone is dropped; no caller waits then.
pub(crate) struct Tasks(Vec<AbortHandle>);

impl Tasks {
    pub(crate) fn of(tasks: &[JoinHandle<()>]) -> Self {
        Self(tasks.iter().map(JoinHandle::abort_handle).collect())
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl Backend {
    /// Closes the queues and waits until the backend has stopped, if this is the last clone of it.
    pub(crate) async fn close(self, limit: Duration) {
        let Self {
            urgent_writes,
            client_writes,
            background_writes,
            reads,
            mut stopped,
            _tasks,
            ..
        } = self;
        drop((urgent_writes, client_writes, background_writes, reads));
        let has_stopped = async { while stopped.changed().await.is_ok() {} };
        let _ = timeout(limit, has_stopped).await;
    }
}
