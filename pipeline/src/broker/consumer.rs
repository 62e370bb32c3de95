//! Consuming with prefetch and manual acknowledgement, on a channel that comes back by itself.

mod delivery;
mod own;
mod subscription;

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

pub use self::delivery::Delivery;
use self::subscription::Subscription;
use super::{LockState, link::Link, reopen::Reopening, session::Session};

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
}

impl Consume {
    /// A queue, with so many messages unsettled at a time. `worker` names the consumer in the log.
    pub fn queue(queue: &str, prefetch: u16, worker: &str) -> Self {
        Self { queue: queue.to_owned(), prefetch, worker: worker.to_owned(), lock: None }
    }

    /// Only as long as a lock is held, or can't be had by anybody; without one, always.
    #[must_use]
    pub fn with(self, lock: Option<watch::Receiver<LockState>>) -> Self {
        Self { lock, ..self }
    }
}

impl From<Consume> for ConsumerOptions {
    fn from(consume: Consume) -> Self {
        let Consume { queue, prefetch, worker, lock } = consume;
        Self { source: Source::Shared(queue), prefetch, worker, lock }
    }
}

/// Receives the messages of one queue.
///
/// After a lost connection, a closed channel, or a cancel sent by the broker (queue deleted,
/// acknowledgement timeout, failover) it subscribes again, as soon as all deliveries of the former
/// subscription were let go: a worker that is still busy with one is not handed another.
pub struct Consumer {
    deliveries: mpsc::UnboundedReceiver<Delivery>,
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
}

impl ConsumerOptions {
    /// Waits until consuming is allowed.
    async fn allowed(&mut self) {
        if let Some(lock) = &mut self.lock {
            // If its keeper is gone, the program is about to end.
            let _ = lock.wait_for(LockState::is_free_to_go).await;
        }
    }

    /// Waits until it is allowed no longer.
    async fn forbidden(&mut self) {
        let Some(lock) = &mut self.lock else { return std::future::pending().await };
        let _ = lock.wait_for(|lock| !lock.is_free_to_go()).await;
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
    fn reopening(&self) -> Reopening {
        match self {
            Self::Shared(_) => Reopening::vital(),
            Self::Own { .. } => Reopening::modest(),
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
        let task = tokio::spawn(keep_subscribed(link, options, sender, subscribed, stop.clone()));
        (Self { deliveries, stop, task }, watched)
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

    /// Receives at least one message, and up to `most` that are here already, into `batch`.
    /// False once the consumer was stopped and what it had received is out.
    pub async fn next_batch(&mut self, batch: &mut Vec<Delivery>, most: usize) -> bool {
        while batch.is_empty() {
            if self.deliveries.recv_many(batch, most).await == 0 {
                return false;
            }
            batch.retain(Delivery::is_current);
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

async fn keep_subscribed(
    mut link: Link,
    mut options: ConsumerOptions,
    deliveries: mpsc::UnboundedSender<Delivery>,
    subscribed: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let mut reopening = options.source.reopening();
    let mut pace = Pace::Full;
    loop {
        let session = tokio::select! {
            () = stop.cancelled() => return,
            session = ready(&mut link, &mut options) => match session {
                Some(session) => session,
                None => return,
            },
        };
        let began = Instant::now();
        let begun = tokio::select! {
            () = stop.cancelled() => return,
            begun = Subscription::begin(&session, &options, pace) => begun,
        };
        match begun {
            Ok(subscription) => {
                options.source.log_begin(&options.worker);
                subscribed.send_replace(true);
                let held = TaskTracker::new();
                held.close();
                let until = stop.child_token();
                let running = subscription.run(deliveries.clone(), held.clone(), until.clone());
                let running = session.run_to_end(running);
                tokio::pin!(running);
                let ended = tokio::select! {
                    ended = &mut running => ended,
                    () = options.forbidden() => {
                        until.cancel();
                        running.await
                    }
                };
                let ended = ended.unwrap_or(Ended::Lost);
                subscribed.send_replace(false);
                if stop.is_cancelled() {
                    return;
                }
                pace = pace.after(&ended, began.elapsed(), session.refusal().is_some());
                if !matches!(ended, Ended::Cautious) {
                    let reason = ended.to_string();
                    warn!(
                        queue = %options.source,
                        worker = options.worker,
                        reason,
                        "stopped consuming"
                    );
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = held.wait() => {}
                }
                if matches!(ended, Ended::Cautious) {
                    continue;
                }
            }
            Err(error) => {
                warn!(queue = %options.source, worker = options.worker, "can't consume: {error}");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = reopening.pause(&link, &session, began.elapsed()) => {}
        }
    }
}

/// Waits for a session and for the permission to consume.
async fn ready(link: &mut Link, options: &mut ConsumerOptions) -> Option<Arc<Session>> {
    let session = link.ready().await?;
    options.allowed().await;
    Some(session)
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
            Ended::Cautious | Ended::Closed(_) | Ended::Cancelled | Ended::Stopped => Self::Full,
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
    Cautious,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("the connection was lost"),
            Self::Closed(reason) => write!(f, "the broker closed the channel: {reason}"),
            Self::Cancelled => f.write_str("the broker cancelled the consumer"),
            Self::Stopped => f.write_str("stopped"),
            Self::Cautious => f.write_str("nothing is wrong any more"),
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
        assert_eq!(Pace::OneByOne.after(&Ended::Cautious, old, false), Pace::Full);
    }
}
