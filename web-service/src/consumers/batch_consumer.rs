//! What the consumers of results and of failed messages have in common: batches, each settled after
//! it is stored; and while the store is away, everything stays with the broker.

use pipeline::{
    broker::{Consumer, Delivery},
    shutdown::Shutdown,
};
use tokio::{task::JoinSet, time::sleep};
use tracing::warn;

use crate::events::notifier::Notifier;
use pipeline::backoff::Backoff;
use store::{Applied, Store, StoreError, WorkerResult};

/// A batch ends with the message that makes it this long, in bytes: it is one transaction.
const BYTES: usize = 16 << 20;
/// Messages that are longer than this on average are long;
const LONG: usize = 256 << 10;
/// when they come in batches of so many bytes,
const MUCH: usize = BYTES / 2;
/// only so many of them may be on their way to us: all of them are in memory.
const FEW: u16 = 16;
/// After so many messages that were not long, more may come again.
const SHORT_ENOUGH: usize = 300;

/// What is done with the messages of a queue.
pub trait Desk {
    /// The most messages that are dealt with at once, and that the broker may have on their way.
    const BATCH: u16;

    /// Begins to consume, with so many messages on their way at most.
    fn consumer(&self, prefetch: u16) -> Consumer;

    /// Deals with a batch: each message is settled here, or by a task put `aside`, which later
    /// messages don't wait for.
    fn receive(
        &self,
        batch: Vec<Delivery>,
        aside: &mut JoinSet<()>,
    ) -> impl Future<Output = Received> + Send;
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// The store has what was meant for it.
    Stored,
    /// Nothing was meant for the store.
    Passed,
    /// The store is away, and what was meant for it has gone back.
    StoreAway,
}

impl Received {
    /// What became of two parts of a batch together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::StoreAway, _) | (_, Self::StoreAway) => Self::StoreAway,
            (Self::Stored, _) | (_, Self::Stored) => Self::Stored,
            (Self::Passed, Self::Passed) => Self::Passed,
        }
    }
}

/// How many messages may be on their way to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// As many as are dealt with at once.
    Full,
    /// A few: they are long. So many were not long since then.
    Few(usize),
    /// One: a store that was found to be away may seem to be back and take no writes all the same.
    /// Brokers up to 4.2 count each time that a message goes back as a delivery, and give it up
    /// after twenty.
    OneByOne,
}

/// Messages, and the rows that they are to become.
pub struct Batch<T> {
    /// Not settled yet.
    pub deliveries: Vec<Delivery>,
    /// One for each of them, in the same order.
    pub rows: Vec<T>,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { deliveries: Vec::new(), rows: Vec::new() }
    }
}

impl<T> Batch<T> {
    /// Adds a message and its row.
    pub fn push(&mut self, delivery: Delivery, row: T) {
        self.deliveries.push(delivery);
        self.rows.push(row);
    }

    /// Hands each message to `settle`, with its row and what became of that.
    pub fn settle(self, applied: Vec<Applied>, mut settle: impl FnMut(Delivery, &T, Applied)) {
        for ((delivery, row), applied) in self.deliveries.into_iter().zip(&self.rows).zip(applied) {
            settle(delivery, row, applied);
        }
    }

    /// All go back.
    pub fn go_back(self, error: &StoreError) -> Received {
        warn!(messages = self.rows.len(), "messages go back: {error}");
        self.deliveries.into_iter().for_each(Delivery::requeue);
        Received::StoreAway
    }
}

impl Batch<WorkerResult> {
    /// Stores how requests have ended, wakes those who wait for them, and hands each message to
    /// `settle`.
    pub async fn finish(
        self,
        store: &Store,
        notifier: &Notifier,
        settle: impl FnMut(Delivery, &WorkerResult, Applied),
    ) -> Received {
        if self.rows.is_empty() {
            return Received::Passed;
        }
        let applied = match store.apply_results(self.rows.clone()).await {
            Ok(applied) => applied,
            Err(error) => return self.go_back(&error),
        };
        notifier.notify_results(self.rows.iter().zip(&applied));
        self.settle(applied, settle);
        Received::Stored
    }
}

/// Why a consumer is given up.
enum Over {
    Stopped,
    StoreAway,
    /// It is to go on at another pace.
    Pace(Pace),
}

/// Receives until told to stop. What had come until then is still dealt with.
pub async fn run(desk: impl Desk, store: Store, shutdown: Shutdown) {
    let (mut pace, mut backoff) = (Pace::Full, Backoff::storing());
    let mut aside = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.drain.cancelled() => break,
            () = store.until_up() => {}
        }
        match consume(&desk, pace, &mut aside, &shutdown).await {
            Over::Stopped => break,
            Over::Pace(next) => {
                pace = next;
                backoff.reset();
            }
            Over::StoreAway => {
                warn!("messages stay with the broker until the store is back");
                pace = Pace::OneByOne;
                tokio::select! {
                    () = shutdown.drain.cancelled() => break,
                    () = sleep(backoff.next_pause()) => {}
                }
            }
        }
    }
    while aside.join_next().await.is_some() {}
}

async fn consume<D: Desk>(
    desk: &D,
    mut pace: Pace,
    aside: &mut JoinSet<()>,
    shutdown: &Shutdown,
) -> Over {
    let mut consumer = desk.consumer(pace.prefetch(D::BATCH));
    let mut stopping = false;
    let mut changed = false;
    let over = loop {
        let mut batch = Vec::new();
        let more = tokio::select! {
            more = consumer.next_batch(&mut batch, D::BATCH.into(), BYTES) => more,
            () = shutdown.drain.cancelled(), if !stopping => {
                stopping = true;
                consumer.stop();
                continue;
            }
        };
        if !more {
            break if changed { Over::Pace(pace) } else { Over::Stopped };
        }
        let (count, bytes) = size(&batch);
        let received = desk.receive(batch, aside).await;
        if received == Received::StoreAway {
            // Those that are under way let go of their messages, which come again.
            aside.shutdown().await;
            break Over::StoreAway;
        }
        let other = pace.after(received, count, bytes);
        if other.prefetch(D::BATCH) != pace.prefetch(D::BATCH) {
            // What has come already is dealt with, so that none of it goes back.
            changed = true;
            consumer.stop();
        }
        pace = other;
        while aside.try_join_next().is_some() {}
    };
    if let Over::Stopped = over {
        while aside.join_next().await.is_some() {}
    }
    consumer.close().await;
    over
}

impl Pace {
    fn prefetch(self, most: u16) -> u16 {
        match self {
            Self::Full => most,
            Self::Few(_) => most.min(FEW),
            Self::OneByOne => 1,
        }
    }

    /// The pace to go on at after a batch of so many messages and bytes.
    fn after(self, received: Received, count: usize, bytes: usize) -> Self {
        let are_long = bytes >= MUCH && bytes > count.saturating_mul(LONG);
        match self {
            Self::OneByOne if received != Received::Stored => Self::OneByOne,
            Self::Full | Self::Few(_) | Self::OneByOne if are_long => Self::Few(0),
            Self::Few(before) if before + count < SHORT_ENOUGH => Self::Few(before + count),
            Self::Full | Self::Few(_) | Self::OneByOne => Self::Full,
        }
    }
}

/// How many messages these are, and how many bytes their bodies have.
fn size(batch: &[Delivery]) -> (usize, usize) {
    (batch.len(), batch.iter().map(|delivery| delivery.body.len()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: Received = Received::Stored;

    #[test]
    fn of_long_messages_only_a_few_are_on_their_way() {
        let few = Pace::Full.after(STORED, 20, MUCH);
        assert_eq!((few, few.prefetch(250), few.prefetch(5)), (Pace::Few(0), 16, 5));
        let short = few.after(STORED, SHORT_ENOUGH - 1, 1000);
        assert_eq!(short.prefetch(250), 16);
        assert_eq!(short.after(STORED, 1, MUCH), Pace::Few(0));
        assert_eq!(short.after(STORED, 1, 1000), Pace::Full);
        let (one, many) =
            (Pace::Full.after(STORED, 1, MUCH - 1), Pace::Full.after(STORED, 250, MUCH));
        assert_eq!([one, many], [Pace::Full; 2]);
    }

    #[test]
    fn one_message_has_to_be_stored_before_more_come() {
        let one = Pace::OneByOne;
        assert_eq!(one.prefetch(250), 1);
        assert_eq!(one.after(Received::Passed, 1, 1), one);
        assert_eq!(one.after(STORED, 1, 1), Pace::Full);
        assert_eq!(one.after(STORED, 1, MUCH), Pace::Few(0));
    }
}
