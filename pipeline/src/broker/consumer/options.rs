//! What to consume, and when it is allowed.

use std::fmt;

use tokio::sync::watch;
use tracing::info;

use crate::broker::{channel_backoff::ChannelBackoff, lock::LockState};

/// What to consume.
#[derive(Debug, Clone)]
pub struct Consume {
    pub(crate) queue: String,
    pub(crate) prefetch: u16,
    pub(crate) worker: String,
    pub(crate) lock: Option<watch::Receiver<LockState>>,
    pub(crate) paused: Option<watch::Receiver<bool>>,
}

impl Consume {
    /// A queue, with so many messages unsettled at a time. `worker` names the consumer in the log.
    pub fn queue(queue: &str, prefetch: u16, worker: &str) -> Self {
        Self {
            queue: queue.to_owned(),
            prefetch,
            worker: worker.to_owned(),
            lock: None,
            paused: None,
        }
    }

    /// Only as long as a lock is held, or can't be had by anybody; without one, always.
    #[must_use]
    pub fn only_with(self, lock: Option<watch::Receiver<LockState>>) -> Self {
        Self { lock, ..self }
    }

    /// Not while this says so: then no more is asked of the broker. What it has sent already still
    /// comes, and whoever has a delivery in hand may finish with it.
    #[must_use]
    pub fn pausing(self, paused: watch::Receiver<bool>) -> Self {
        Self { paused: Some(paused), ..self }
    }
}

impl From<Consume> for ConsumerOptions {
    fn from(consume: Consume) -> Self {
        let Consume { queue, prefetch, worker, lock, paused } = consume;
        Self { source: Source::Shared(queue), prefetch, worker, lock, paused }
    }
}

/// Which queue to consume, and how.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerOptions {
    pub(crate) source: Source,
    pub(crate) prefetch: u16,
    /// Who consumes, for the log.
    pub(crate) worker: String,
    /// Without this lock nothing is to be consumed.
    pub(crate) lock: Option<watch::Receiver<LockState>>,
    /// While this is true, nothing is to be consumed.
    pub(crate) paused: Option<watch::Receiver<bool>>,
}

impl ConsumerOptions {
    /// Whether consuming is allowed at the moment.
    pub(super) fn is_allowed(&self) -> bool {
        self.lock.as_ref().is_none_or(|lock| lock.borrow().is_free_to_go())
            && self.paused.as_ref().is_none_or(|paused| !*paused.borrow())
    }

    /// Waits until consuming is allowed.
    pub(super) async fn allowed(&mut self) {
        if let Some(lock) = &mut self.lock {
            // If its keeper is gone, the program is about to end.
            let _ = lock.wait_for(LockState::is_free_to_go).await;
        }
        if let Some(paused) = &mut self.paused {
            let _ = paused.wait_for(|paused| !paused).await;
        }
    }

    /// Waits until it is allowed no longer.
    pub(super) async fn forbidden(&mut self) {
        tokio::select! {
            () = until(self.lock.as_mut(), |lock| !lock.is_free_to_go()) => {}
            () = until(self.paused.as_mut(), |paused| *paused) => {}
        }
    }
}

/// Waits until what is watched is so; for ever, if nothing is watched.
async fn until<T>(watched: Option<&mut watch::Receiver<T>>, is: impl FnMut(&T) -> bool) {
    match watched {
        Some(watched) => drop(watched.wait_for(is).await),
        None => std::future::pending().await,
    }
}

/// Where messages come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// A queue that many may consume.
    Shared(String),
    /// A queue of our own, made anew for each subscription, and bound to the exchange of control
    /// messages and to that of events, if they are wanted.
    Own { events: bool },
}

impl Source {
    pub(super) fn reopening(&self) -> ChannelBackoff {
        match self {
            Self::Shared(_) => ChannelBackoff::vital(),
            Self::Own { .. } => ChannelBackoff::modest(),
        }
    }

    pub(super) fn log_begin(&self, worker: &str) {
        match self {
            Self::Shared(queue) => info!(queue, worker, "consuming"),
            Self::Own { events } => info!(events, "hearing control messages"),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared(queue) => f.write_str(queue),
            Self::Own { .. } => f.write_str("processing.instance"),
        }
    }
}
