//! Consuming with prefetch and manual acknowledgement, on a channel that comes back by itself.

pub(crate) mod delivery;
mod exclusive_queue;
pub(crate) mod options;
pub(crate) mod prefetch_mode;
pub(crate) mod resubscribe;
pub(crate) mod subscription;

use std::time::Duration;

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use self::{
    delivery::Delivery,
    options::{ConsumerOptions, Source},
};
use crate::broker::consumer::resubscribe::Keeper;
use crate::broker::link::Link;

/// How long the end of a consumer may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

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

impl Consumer {
    /// Begins to consume, and returns at once, with a watch on whether it is subscribed.
    pub(super) fn start(link: Link, options: ConsumerOptions) -> (Self, watch::Receiver<bool>) {
        if matches!(options.source, Source::Shared(_)) {
            link.gate().register();
        }
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
