//! The failed queue hands over, the store keeps: what nobody could work on ends its request here.

use std::time::Duration;

use pipeline::{
    broker::{Consume, Consumer, DedicatedConnection, Delivery, LockState},
    contract::Timestamp,
    topology,
};
use tokio::{sync::watch, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::{
    consumers::{
        batch_consumer::{Batch, Desk, Received},
        from_message::{self, Dead},
        results::log,
    },
    events::notifier::Notifier,
};
use store::{Applied, Parked, Store, WorkerResult};

/// How many messages the broker may have on their way to us. They are rare, and may be long.
const PREFETCH: u16 = 25;
/// How long a message waits that the store can't take, before it goes back.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Stores dead letters.
pub struct Failed {
    /// Whence they come: apart, since here ends what went wrong everywhere else.
    pub apart: DedicatedConnection,
    /// Where they go.
    pub store: Store,
    /// Who is told.
    pub notifier: Notifier,
    /// Held by the web service that may take them, where only one may.
    pub lock: Option<watch::Receiver<LockState>>,
    /// When to stop.
    pub drain: CancellationToken,
}

impl Desk for Failed {
    const BATCH: u16 = PREFETCH;

    fn consumer(&self, prefetch: u16) -> Consumer {
        let consume = Consume::queue(topology::FAILED, prefetch, "failed");
        self.apart.consume(consume.only_with(self.lock.clone()))
    }

    async fn receive(&self, batch: Vec<Delivery>, aside: &mut JoinSet<()>) -> Received {
        let (mut results, mut letters) = (Batch::default(), Batch::default());
        for delivery in batch {
            match from_message::dead(&delivery.properties, &delivery.body, Timestamp::now()) {
                Dead::Result(ending) => results.push(delivery, ending),
                Dead::Letter(parked) => letters.push(delivery, parked),
            }
        }
        let settle = |delivery, ending: &WorkerResult, applied| {
            self.settle(delivery, Some(ending), applied, aside);
        };
        let stored = results.finish(&self.store, &self.notifier, settle).await;
        stored.and(self.store_letters(letters, aside).await)
    }
}

impl Failed {
    async fn store_letters(&self, batch: Batch<Parked>, aside: &mut JoinSet<()>) -> Received {
        if batch.rows.is_empty() {
            return Received::Passed;
        }
        let applied = match self.store.park(batch.rows.clone()).await {
            Ok(applied) => applied,
            Err(error) => return batch.go_back(&error),
        };
        let endings = batch.rows.iter().map(|parked| parked.ends.as_ref()).zip(&applied);
        self.notifier
            .notify_results(endings.filter_map(|(ending, applied)| Some((ending?, applied))));
        batch.settle(applied, |delivery, parked, applied| {
            let Parked { reason, error, .. } = parked;
            let id = parked.ends.as_ref().map(|ending| ending.id.to_string());
            warn!(requestId = id, reason, error, bytes = parked.body.len(), "parked");
            self.settle(delivery, parked.ends.as_ref(), applied, aside);
        });
        Received::Stored
    }

    /// Says what became of a message's request, and lets the broker forget the message.
    fn settle(
        &self,
        delivery: Delivery,
        ending: Option<&WorkerResult>,
        applied: Applied,
        aside: &mut JoinSet<()>,
    ) {
        match (applied, ending) {
            (Applied::BadRow(reason), _) => {
                error!(reason, "a failed message can't be stored and stays in its queue");
                aside.spawn(later(delivery, self.drain.clone()));
                return;
            }
            (Applied::Stored, Some(ending)) => {
                log(&ending.id.to_string(), &ending.end, &delivery.properties.headers);
            }
            (dropped, ending) => {
                debug!(requestId = ?ending.map(|ending| ending.id), ?dropped, "ended before");
            }
        }
        delivery.ack();
    }
}

/// Gives a message back after a while.
async fn later(delivery: Delivery, drain: CancellationToken) {
    tokio::select! {
        () = sleep(TRY_AGAIN_AFTER) => {}
        () = delivery.lapsed() => {}
        () = drain.cancelled() => {}
    }
    delivery.requeue();
}
