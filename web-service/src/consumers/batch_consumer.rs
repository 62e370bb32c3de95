//! Batch consumer: receives messages in batches, which a handler stores and acks after the commit.
//!
//! While the store is away nothing is consumed, and the messages stay in their queue.

use std::time::Duration;

use pipeline::{
    backoff::Backoff,
    broker::{Consumer, Delivery},
    log_messages::STORE_AWAY,
    shutdown::Shutdown,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use tracing::warn;

use crate::consumers::{
    batch_outcome::BatchOutcome,
    prefetch_mode::{MAX_BATCH_BYTES, PrefetchMode},
};
use store::{Health, Store};

/// Messages that come sooner than this after a batch are taken to come one after the other.
const STREAM_INTERVAL: Duration = Duration::from_millis(10);
/// How long the first message of a batch may then wait for others. A commit costs as much as many rows, and while it is made
/// a few messages come at most. Longer than between the results of a few workers, and shorter than a person notices.
const GATHER_TIME: Duration = Duration::from_millis(5);
/// How often what has come is looked at meanwhile.
const GATHER_INTERVAL: Duration = Duration::from_millis(1);
/// A batch of so many messages need not wait for others.
const ENOUGH_MESSAGES: usize = 32;

/// What is done with the messages of a queue.
pub trait BatchHandler {
    /// The full prefetch.
    const PREFETCH: u16;

    /// Begins to consume with this prefetch.
    fn consumer(&self, prefetch: u16) -> Consumer;

    /// Whether this message may wait a moment for others, so that they share a commit.
    fn may_wait(&self, delivery: &Delivery) -> bool;

    /// Handles a batch: settles each message, or leaves that to a task in `background`, for which later
    /// messages don't wait.
    fn handle(
        &self,
        batch: Vec<Delivery>,
        background: &mut JoinSet<()>,
    ) -> impl Future<Output = BatchOutcome> + Send;
}

/// Why a subscription ended.
enum Ended {
    Stopped,
    StoreAway,
    /// The next subscription has another prefetch.
    PrefetchChanged,
}

/// Consumes until told to stop. Messages that had come until then are still handled.
pub async fn run(handler: impl BatchHandler, store: Store, shutdown: Shutdown) {
    let (mode, background) = (PrefetchMode::FIRST, JoinSet::new());
    BatchConsumer { handler, store, shutdown, mode, background }.run().await;
}

struct BatchConsumer<H> {
    handler: H,
    store: Store,
    shutdown: Shutdown,
    mode: PrefetchMode,
    background: JoinSet<()>,
}

impl<H: BatchHandler> BatchConsumer<H> {
    async fn run(mut self) {
        let drain = self.shutdown.drain.clone();
        let mut backoff = Backoff::storing();
        while drain.run_until_cancelled(self.store.until_up()).await.is_some() {
            match self.subscribe().await {
                Ended::Stopped => break,
                Ended::PrefetchChanged => backoff.reset(),
                Ended::StoreAway => {
                    warn!("{STORE_AWAY}");
                    self.mode = PrefetchMode::Single;
                    let pause = sleep(backoff.next_pause());
                    let _stopped = drain.run_until_cancelled(pause).await;
                }
            }
        }
        self.finish_background().await;
    }

    /// Consumes until there is a reason to end the subscription.
    async fn subscribe(&mut self) -> Ended {
        let mut consumer = self.handler.consumer(self.prefetch());
        let ended = self.consume(&mut consumer).await;
        match ended {
            Ended::Stopped => self.finish_background().await,
            // The tasks let go of their messages, which are delivered again.
            Ended::StoreAway => self.background.shutdown().await,
            Ended::PrefetchChanged => {}
        }
        consumer.close().await;
        ended
    }

    async fn consume(&mut self, consumer: &mut Consumer) -> Ended {
        let drain = self.shutdown.drain.clone();
        let mut health = self.store.health();
        let (mut is_stopping, mut is_changing) = (false, false);
        let max_batch = self.mode.max_batch(H::PREFETCH);
        let mut last_batch: Option<Instant> = None;
        loop {
            let mut batch = Vec::new();
            let is_open = tokio::select! {
                is_open = consumer.next_batch(&mut batch, max_batch, MAX_BATCH_BYTES) => is_open,
                () = drain.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    consumer.stop();
                    continue;
                }
                () = is_away(&mut health) => return Ended::StoreAway,
            };
            if !is_open {
                return if is_changing { Ended::PrefetchChanged } else { Ended::Stopped };
            }
            if let Some(end) = gather_end(last_batch, Instant::now()) {
                self.gather(&mut batch, max_batch, consumer, end).await;
            }
            let (count, bytes) = (batch.len(), total_bytes(&batch));
            let outcome = self.handler.handle(batch, &mut self.background).await;
            if outcome == BatchOutcome::StoreAway {
                return Ended::StoreAway;
            }
            last_batch = Some(Instant::now());
            let before = self.prefetch();
            self.mode = self.mode.after(outcome, count, bytes);
            if self.prefetch() != before {
                // What was sent already is still handled, so that none of it has to be requeued.
                is_changing = true;
                consumer.stop();
            }
            while self.background.try_join_next().is_some() {}
        }
    }

    /// Waits until `end` for more messages, unless there are enough, or one of them may not wait.
    async fn gather(
        &self,
        batch: &mut Vec<Delivery>,
        max_batch: usize,
        consumer: &mut Consumer,
        end: Instant,
    ) {
        let enough = ENOUGH_MESSAGES.min(max_batch);
        while batch.len() < enough
            && total_bytes(batch) < MAX_BATCH_BYTES
            && Instant::now() < end
            && batch.iter().all(|delivery| self.handler.may_wait(delivery))
        {
            sleep(GATHER_INTERVAL).await;
            consumer.add_received(batch, max_batch, MAX_BATCH_BYTES);
        }
    }

    fn prefetch(&self) -> u16 {
        self.mode.prefetch(H::PREFETCH)
    }

    async fn finish_background(&mut self) {
        while self.background.join_next().await.is_some() {}
    }
}

/// Until when a message that comes now may wait for others, if it may: a message that comes alone does not.
fn gather_end(last_batch: Option<Instant>, now: Instant) -> Option<Instant> {
    let follows = now.saturating_duration_since(last_batch?) < STREAM_INTERVAL;
    follows.then(|| now + GATHER_TIME)
}

/// Waits until the store is away.
async fn is_away(health: &mut watch::Receiver<Health>) {
    if health.wait_for(|health| matches!(health, Health::Away(_))).await.is_err() {
        // The store is closed: the program is about to end.
        std::future::pending().await
    }
}

fn total_bytes(batch: &[Delivery]) -> usize {
    batch.iter().map(|delivery| delivery.body.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_one_after_the_other_waits_for_more_and_what_comes_alone_does_not() {
        let ended = Instant::now();
        assert_eq!(gather_end(None, ended), None);
        let soon = ended + STREAM_INTERVAL / 2;
        assert_eq!(gather_end(Some(ended), soon), Some(soon + GATHER_TIME));
        assert_eq!(gather_end(Some(ended), ended + STREAM_INTERVAL), None);
    }
}
