//! Consuming with prefetch and manual acknowledgement, on a channel that comes back by itself.

mod delivery;
mod subscription;

use std::time::Duration;

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

pub use self::delivery::Delivery;
use self::subscription::Subscription;
use super::{backoff::Backoff, link::Link};

/// A subscription that lived this long was a good one.
const GOOD_LIFE: Duration = Duration::from_secs(10);

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
    pub(super) queue: String,
    pub(super) prefetch: u16,
    /// Who consumes, for the log.
    pub(super) worker: String,
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
    /// reached the broker. All deliveries must have been let go.
    pub async fn close(mut self) {
        self.stop.cancel();
        while let Some(delivery) = self.deliveries.recv().await {
            delivery.requeue();
        }
        let _ended = (&mut self.task).await;
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn keep_subscribed(
    mut link: Link,
    options: ConsumerOptions,
    deliveries: mpsc::UnboundedSender<Delivery>,
    subscribed: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::new();
    loop {
        let session = tokio::select! {
            () = stop.cancelled() => return,
            session = link.ready() => match session {
                Some(session) => session,
                None => return,
            },
        };
        let began = Instant::now();
        match Subscription::begin(&session, &options).await {
            Ok(subscription) => {
                info!(queue = options.queue, worker = options.worker, "consuming");
                subscribed.send_replace(true);
                let held = TaskTracker::new();
                held.close();
                let running = subscription.run(deliveries.clone(), held.clone(), stop.clone());
                let reason = session.run_to_end(running).await;
                subscribed.send_replace(false);
                if stop.is_cancelled() {
                    return;
                }
                let reason = reason.unwrap_or_else(|| "the connection was lost".to_owned());
                warn!(queue = options.queue, worker = options.worker, reason, "stopped consuming");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = held.wait() => {}
                }
            }
            Err(error) => {
                warn!(queue = options.queue, worker = options.worker, "can't consume: {error}");
            }
        }
        if began.elapsed() > GOOD_LIFE {
            backoff.reset();
        }
        if session.is_lost() {
            continue;
        }
        link.repair().await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(backoff.next()) => {}
        }
    }
}
