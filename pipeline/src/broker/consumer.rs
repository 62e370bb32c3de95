//! Consuming with prefetch and manual acknowledgement, on a channel that comes back by itself.

mod delivery;
mod exclusive_queue;
mod resubscribe;
mod subscription;

use std::{fmt, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::info;

pub use self::delivery::Delivery;
use self::resubscribe::Keeper;
use super::{LockState, channel_backoff::ChannelBackoff, link::Link};

/// A connection that was lost so soon after subscribing may have been lost because of a message.
const YOUNG: Duration = Duration::from_secs(5);
/// How long the end of a consumer may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What to consume.
#[derive(Debug, Clone)]
pub struct Consume {
    pub(super) queue: String,
    pub(super) prefetch: u16,
    pub(super) worker: String,
    pub(super) lock: Option<watch::Receiver<LockState>>,
    pub(super) paused: Option<watch::Receiver<bool>>,
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

/// Receives the messages of one queue.
///
/// After a lost connection, a closed channel, or a cancel sent by the broker (queue deleted,
/// acknowledgement timeout, failover) it subscribes again, as soon as all deliveries of the former
/// subscription were let go: a worker that is still busy with one is not handed another.
pub struct Consumer {
    deliveries: mpsc::UnboundedReceiver<Delivery>,
    idle: watch::Receiver<bool>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Which queue to consume, and how.
#[derive(Debug, Clone)]
pub(super) struct ConsumerOptions {
    pub(super) source: Source,
    pub(super) prefetch: u16,
    /// Who consumes, for the log.
    pub(super) worker: String,
    /// Without this lock nothing is to be consumed.
    pub(super) lock: Option<watch::Receiver<LockState>>,
    /// While this is true, nothing is to be consumed.
    pub(super) paused: Option<watch::Receiver<bool>>,
}

impl ConsumerOptions {
    /// Whether consuming is allowed at the moment.
    fn is_allowed(&self) -> bool {
        self.lock.as_ref().is_none_or(|lock| lock.borrow().is_free_to_go())
            && self.paused.as_ref().is_none_or(|paused| !*paused.borrow())
    }

    /// Waits until consuming is allowed.
    async fn allowed(&mut self) {
        if let Some(lock) = &mut self.lock {
            // If its keeper is gone, the program is about to end.
            let _ = lock.wait_for(LockState::is_free_to_go).await;
        }
        if let Some(paused) = &mut self.paused {
            let _ = paused.wait_for(|paused| !paused).await;
        }
    }

    /// Waits until it is allowed no longer.
    async fn forbidden(&mut self) {
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
pub(super) enum Source {
    /// A queue that many may consume.
    Shared(String),
    /// A queue of our own, made anew for each subscription, and bound to the exchange of control
    /// messages and to that of events, if they are wanted.
    Own { events: bool },
}

impl Source {
    fn reopening(&self) -> ChannelBackoff {
        match self {
            Self::Shared(_) => ChannelBackoff::vital(),
            Self::Own { .. } => ChannelBackoff::modest(),
        }
    }

    fn log_begin(&self, worker: &str) {
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

impl Consumer {
    /// Begins to consume, and returns at once, with a watch on whether it is subscribed.
    pub(super) fn start(link: Link, options: ConsumerOptions) -> (Self, watch::Receiver<bool>) {
        let stop = CancellationToken::new();
        // Not bounded here, but by the prefetch: only one subscription at a time has deliveries
        // that were not let go.
        let (sender, deliveries) = mpsc::unbounded_channel();
        let (subscribed, watched) = watch::channel(false);
        let (idle, is_idle) = watch::channel(true);
        let stopped = stop.clone();
        let keeper = Keeper { link, options, deliveries: sender, subscribed, idle, stop: stopped };
        let task = tokio::spawn(keeper.run());
        (Self { deliveries, idle: is_idle, stop, task }, watched)
    }

    /// Whether nothing was delivered that was not let go, and nothing can come: it is not subscribed.
    pub fn idle(&self) -> watch::Receiver<bool> {
        self.idle.clone()
    }

    /// The next message. `None` once the consumer was stopped and what it had received is out.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            let delivery = self.deliveries.recv().await?;
            if delivery.is_current() {
                return Some(delivery);
            }
        }
    }

    /// Receives at least one message into `batch`, and more that are here already, until there are
    /// `most` or their bodies have `bytes` bytes together. False once the consumer was stopped and
    /// what it had received is out.
    pub async fn next_batch(
        &mut self,
        batch: &mut Vec<Delivery>,
        most: usize,
        bytes: usize,
    ) -> bool {
        let Some(first) = self.next().await else { return false };
        let mut size = first.body.len();
        batch.push(first);
        while batch.len() < most
            && size < bytes
            && let Ok(delivery) = self.deliveries.try_recv()
        {
            if delivery.is_current() {
                size += delivery.body.len();
                batch.push(delivery);
            }
        }
        true
    }

    /// Asks the broker to send no more. What it has sent already still comes out of [`Self::next`].
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Stops, gives back what was not taken, and waits until everything that was settled has
    /// reached the broker, for a second at most: a broker that doesn't answer must not hold up the
    /// program's end. All deliveries must have been let go.
    pub async fn close(mut self) {
        self.stop.cancel();
        let closing = async {
            while let Some(delivery) = self.deliveries.recv().await {
                delivery.requeue();
            }
            let _ended = (&mut self.task).await;
        };
        let _in_time_or_not = timeout(CLOSE_TIMEOUT, closing).await;
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// How many messages a subscription takes at a time.
///
/// A message that the client can't decode costs the connection, and all that were delivered with it
/// count as delivered once more, until the broker parks them all as poison. So after connections
/// that died young, messages are taken one by one, and the bad one is alone when it strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Full,
    OneByOne,
}

impl Pace {
    fn after(self, ended: &Ended, life: Duration, broker_closed: bool) -> Self {
        match ended {
            Ended::Lost if life < YOUNG && !broker_closed => Self::OneByOne,
            Ended::Lost => self,
            Ended::Recovered | Ended::Closed(_) | Ended::Cancelled | Ended::Stopped => Self::Full,
        }
    }
}

/// How a subscription ended.
#[derive(Debug)]
enum Ended {
    Lost,
    Closed(String),
    Cancelled,
    Stopped,
    /// Taking messages one by one went well for as long as a full prefetch reaches.
    Recovered,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("the connection was lost"),
            Self::Closed(reason) => write!(f, "the broker closed the channel: {reason}"),
            Self::Cancelled => f.write_str("the broker cancelled the consumer"),
            Self::Stopped => f.write_str("stopped"),
            Self::Recovered => f.write_str("nothing is wrong any more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connections_that_die_young_of_themselves_make_it_cautious() {
        let (young, old) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(Pace::Full.after(&Ended::Lost, young, false), Pace::OneByOne);
        assert_eq!(Pace::Full.after(&Ended::Lost, young, true), Pace::Full);
        assert_eq!(Pace::Full.after(&Ended::Lost, old, false), Pace::Full);
        assert_eq!(Pace::OneByOne.after(&Ended::Lost, old, false), Pace::OneByOne);
        assert_eq!(Pace::OneByOne.after(&Ended::Recovered, old, false), Pace::Full);
    }
}
