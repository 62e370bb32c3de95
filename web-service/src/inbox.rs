//! What the consumers of results and of failed messages have in common: batches, each settled after
//! it is stored; and while the store is away, everything stays with the broker.

use pipeline::{
    broker::{Consumer, Delivery},
    shutdown::Shutdown,
};
use tokio::task::JoinSet;
use tracing::warn;

use crate::store::Store;

/// What is done with the messages of a queue.
pub trait Desk {
    /// The most messages that are dealt with at once.
    const BATCH: usize;

    /// Begins to consume.
    fn consumer(&self) -> Consumer;

    /// Deals with a batch: each message is settled here, or by a task put `aside`, for which nobody
    /// waits. False if the store is away; then all have gone back.
    fn receive(
        &self,
        batch: Vec<Delivery>,
        aside: &mut JoinSet<()>,
    ) -> impl Future<Output = bool> + Send;
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
