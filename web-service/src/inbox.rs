//! What the consumers of results and of failed messages have in common: batches, each settled after
//! it is stored; and while the store is away, everything stays with the broker.

use pipeline::{
    broker::{Consumer, Delivery},
    shutdown::Shutdown,
};
use tokio::task::JoinSet;
use tracing::warn;

use crate::{
    news::News,
    store::{Applied, Ending, Store, StoreError},
};

/// What is done with the messages of a queue.
pub trait Desk {
    /// The most messages that are dealt with at once.
    const BATCH: usize;

    /// Begins to consume.
    fn consumer(&self) -> Consumer;

    /// Deals with a batch: each message is settled here, or by a task put `aside`, which later
    /// messages don't wait for. False if the store is away; then all have gone back.
    fn receive(
        &self,
        batch: Vec<Delivery>,
        aside: &mut JoinSet<()>,
    ) -> impl Future<Output = bool> + Send;
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

    /// All go back. Always false, for the store is away.
    pub fn go_back(self, error: &StoreError) -> bool {
        warn!(messages = self.rows.len(), "messages go back: {error}");
        self.deliveries.into_iter().for_each(Delivery::requeue);
        false
    }
}

impl Batch<Ending> {
    /// Stores how requests have ended, wakes those who wait for them, and hands each message to
    /// `settle`. False if the store is away; then all have gone back.
    pub async fn finish(
        self,
        store: &Store,
        news: &News,
        settle: impl FnMut(Delivery, &Ending, Applied),
    ) -> bool {
        if self.rows.is_empty() {
            return true;
        }
        let applied = match store.finish(self.rows.clone()).await {
            Ok(applied) => applied,
            Err(error) => return self.go_back(&error),
        };
        news.tell(self.rows.iter().zip(&applied));
        self.settle(applied, settle);
        true
    }
}

/// Why a consumer is given up.
enum Over {
    Stopped,
    StoreAway,
}

/// Receives until told to stop. What had come until then is still dealt with.
pub async fn run(desk: impl Desk, store: Store, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = store.until_up() => {}
            () = shutdown.drain.cancelled() => return,
        }
        match consume(&desk, desk.consumer(), &shutdown).await {
            Over::Stopped => return,
            Over::StoreAway => warn!("messages stay with the broker until the store is back"),
        }
    }
}

async fn consume(desk: &impl Desk, mut consumer: Consumer, shutdown: &Shutdown) -> Over {
    let mut aside = JoinSet::new();
    let mut stopping = false;
    let over = loop {
        let mut batch = Vec::new();
        let more = tokio::select! {
            more = consumer.next_batch(&mut batch, batch_size(desk)) => more,
            () = shutdown.drain.cancelled(), if !stopping => {
                stopping = true;
                consumer.stop();
                continue;
            }
        };
        if !more {
            break Over::Stopped;
        }
        if !desk.receive(batch, &mut aside).await {
            // Those that are under way let go of their messages, which come again.
            aside.shutdown().await;
            break Over::StoreAway;
        }
        while aside.try_join_next().is_some() {}
    };
    while aside.join_next().await.is_some() {}
    consumer.close().await;
    over
}

fn batch_size<D: Desk>(_: &D) -> usize {
    D::BATCH
}
