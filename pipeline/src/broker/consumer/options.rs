//! Consumer options: the queue, the prefetch, and when consuming is allowed.

use std::fmt;

use tokio::sync::watch;
use tracing::{debug, info};

use crate::broker::{channel_backoff::ChannelBackoff, lock::LockState};
use crate::{log_messages::CONSUMING, topology::exclusive_queue::ExclusiveQueue};

/// What to consume.
#[derive(Debug, Clone)]
pub struct Consume {
    pub(crate) queue: String,
    pub(crate) prefetch: u16,
    pub(crate) worker: String,
    pub(crate) lock: Option<watch::Receiver<LockState>>,
    pub(crate) paused: Option<watch::Receiver<bool>>,
    pub(crate) one_by_one: Option<watch::Receiver<bool>>,
    pub(crate) gathers_acks: bool,
}

impl Consume {
    /// A queue with a prefetch (messages unsettled at a time). `worker` names the consumer in the log.
    pub fn queue(queue: &str, prefetch: u16, worker: &str) -> Self {
        Self {
            queue: queue.to_owned(),
            prefetch,
            worker: worker.to_owned(),
            lock: None,
            paused: None,
            one_by_one: None,
            gathers_acks: false,
        }
    }

    /// Consumes only while the lock is held (see [`LockState::allows_work`]); always, if `None`.
    #[must_use]
    pub fn only_with(self, lock: Option<watch::Receiver<LockState>>) -> Self {
        Self { lock, ..self }
    }

    /// Cancels the subscription while `paused` is true. Messages received before are still delivered,
    /// and their deliveries can be settled.
    #[must_use]
    pub fn pausing(self, paused: watch::Receiver<bool>) -> Self {
        Self { paused: Some(paused), ..self }
    }

    /// Consumes with a prefetch of 1 while `one_by_one` is true. A change ends the subscription; the next one begins
    /// once all its deliveries were dropped.
    #[must_use]
    pub fn one_by_one_while(self, one_by_one: watch::Receiver<bool>) -> Self {
        Self { one_by_one: Some(one_by_one), ..self }
    }

    /// Lets acks wait for others: for ten milliseconds, or until a quarter of the prefetch waits, or the broker may send no other
    /// message before. Each ack costs the broker as much as a message, so this is for a queue of which many messages are
    /// acked one by one. Those whose ack was not written when the connection or the program ends are delivered again.
    #[must_use]
    pub fn gathering_acks(self) -> Self {
        Self { gathers_acks: true, ..self }
    }
}

impl From<Consume> for ConsumerOptions {
    fn from(consume: Consume) -> Self {
        let Consume { queue, prefetch, worker, lock, paused, one_by_one, gathers_acks } = consume;
        let source = Source::Shared(queue);
        Self { source, prefetch, worker, lock, paused, one_by_one, gathers_acks }
    }
}

/// Which queue to consume, and how.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerOptions {
    pub(crate) source: Source,
    pub(crate) prefetch: u16,
    /// Who consumes, for the log.
    pub(crate) worker: String,
    /// Consumes only while this lock allows it.
    pub(crate) lock: Option<watch::Receiver<LockState>>,
    /// Doesn't consume while this is true.
    pub(crate) paused: Option<watch::Receiver<bool>>,
    /// Consumes with a prefetch of 1 while this is true.
    pub(crate) one_by_one: Option<watch::Receiver<bool>>,
    /// Whether acks may wait for others.
    pub(crate) gathers_acks: bool,
}

impl ConsumerOptions {
    /// Whether consuming is allowed at the moment.
    pub(super) fn is_allowed(&self) -> bool {
        self.lock.as_ref().is_none_or(|lock| lock.borrow().allows_work())
            && self.paused.as_ref().is_none_or(|paused| !*paused.borrow())
    }

    /// Waits until consuming is allowed.
    pub(super) async fn allowed(&mut self) {
        if let Some(lock) = &mut self.lock {
            // If the lock's task has ended, the program is about to end.
            let _ = lock.wait_for(LockState::allows_work).await;
        }
        if let Some(paused) = &mut self.paused {
            let _ = paused.wait_for(|paused| !paused).await;
        }
    }

    /// The options of a subscription that begins now.
    pub(super) fn of_now(&self) -> Self {
        let mut options = self.clone();
        if self.one_by_one.as_ref().is_some_and(|one_by_one| *one_by_one.borrow()) {
            options.prefetch = 1;
        }
        options
    }

    /// Waits until consuming is no longer allowed, or no longer with this prefetch.
    pub(super) async fn forbidden(&mut self, prefetch: u16) {
        let full = self.prefetch;
        let differs = |one_by_one: &bool| prefetch != if *one_by_one { 1 } else { full };
        tokio::select! {
            () = until(self.lock.as_mut(), |lock| !lock.allows_work()) => {}
            () = until(self.paused.as_mut(), |paused| *paused) => {}
            () = until(self.one_by_one.as_mut(), differs) => {}
        }
    }
}

/// Waits until the watched value is so. `None` never is.
async fn until<T>(watched: Option<&mut watch::Receiver<T>>, is: impl FnMut(&T) -> bool) {
    match watched {
        Some(watched) => drop(watched.wait_for(is).await),
        None => std::future::pending().await,
    }
}

/// Where messages come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// A durable queue that other programs consume as well.
    Shared(String),
    /// A new exclusive queue for each subscription.
    Exclusive(ExclusiveQueue),
}

impl Source {
    pub(super) fn channel_backoff(&self) -> ChannelBackoff {
        match self {
            Self::Shared(_) => ChannelBackoff::required(),
            Self::Exclusive(_) => ChannelBackoff::optional(),
        }
    }

    pub(super) fn log_begin(&self, worker: &str) {
        match self {
            Self::Shared(queue) => info!(queue, worker, "{CONSUMING}"),
            // Its user is notified, and logs what it receives.
            Self::Exclusive(queue) => debug!(queue = queue.prefix, worker, "{CONSUMING}"),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared(queue) => f.write_str(queue),
            Self::Exclusive(queue) => f.write_str(&queue.prefix),
        }
    }
}
