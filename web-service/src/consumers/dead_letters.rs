//! Dead letters: consumes the failed queue, parks its messages in the store, and ends their requests. Requests that only
//! the broker gave up are put back.

mod put_back;
mod return_to_queue;

use std::{sync::Arc, time::Duration};

use pipeline::{
    broker::{Broker, Consume, Consumer, DedicatedConnection, Delivery, LockState, Publisher},
    log_messages::PARKED,
    topology,
};
use tokio::{sync::watch, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::{
    consumers::{
        batch::{Batch, NotStored},
        batch_consumer::BatchHandler,
        batch_outcome::BatchOutcome,
        dead_letters::return_to_queue::{Reason, return_all, return_message},
        from_message::{FailedQueueMessage, parse_failed_queue_message},
        result_log::log_result,
    },
    events::notifier::Notifier,
};
use store::{Applied, NewParked, Store, WorkerResult};

/// How many messages the broker may send ahead. Dead letters are rare, and may be long.
const PREFETCH: u16 = 25;
/// How long a message that the store refuses is held until it goes back to its queue.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

/// Parks the messages of the failed queue.
pub struct DeadLetterHandler {
    /// Carries nothing but the consumer of the failed queue, where all bad messages end: one that costs
    /// the connection does no harm to other consumers.
    connection: DedicatedConnection,
    publisher: Publisher,
    store: Store,
    notifier: Notifier,
    lock: Option<watch::Receiver<LockState>>,
    drain: CancellationToken,
}

impl DeadLetterHandler {
    /// A handler with a connection of its own. With a `lock`, only its holder consumes. What is held back
    /// goes to the queue when `drain` is cancelled.
    pub fn new(
        broker: &Arc<Broker>,
        store: Store,
        notifier: Notifier,
        lock: Option<watch::Receiver<LockState>>,
        drain: CancellationToken,
    ) -> Self {
        let (connection, publisher) = (broker.dedicated_connection("failed"), broker.publisher());
        Self { connection, publisher, store, notifier, lock, drain }
    }

    async fn store_results(
        &self,
        results: Batch<WorkerResult>,
        background: &mut JoinSet<()>,
    ) -> BatchOutcome {
        let settle = |delivery, result: &WorkerResult, applied| {
            self.settle(delivery, Some(result), None, applied, background)
        };
        match results.store(&self.store, &self.notifier, settle).await {
            Ok(outcome) => outcome,
            Err(not_stored) => return_all(&self.publisher, not_stored, |_| None).await,
        }
    }

    async fn park(&self, parked: Batch<NewParked>, background: &mut JoinSet<()>) -> BatchOutcome {
        if parked.is_empty() {
            return BatchOutcome::NothingToStore;
        }
        let applied = match self.store.park(parked.rows().to_vec()).await {
            Ok(applied) => applied,
            Err(error) => {
                let not_stored = NotStored { batch: parked, error };
                return return_all(&self.publisher, not_stored, Reason::of).await;
            }
        };
        let results = parked.rows().iter().map(|parked| parked.result.as_ref()).zip(&applied);
        let results = results.filter_map(|(result, applied)| Some((result?, applied)));
        self.notifier.notify_results(results);
        parked.settle(applied, |delivery, parked, applied| {
            let NewParked { reason, error, .. } = parked;
            let id = parked.result.as_ref().map(|result| result.id.to_string());
            warn!(requestId = id, reason, error, bytes = parked.body.len(), "{PARKED}");
            let result = parked.result.as_ref();
            self.settle(delivery, result, Reason::of(parked), applied, background)
        });
        BatchOutcome::Stored
    }

    /// Logs what became of a message's request, and returns the message to be acked; if the store has refused it, it
    /// goes back to its queue later.
    fn settle(
        &self,
        delivery: Delivery,
        result: Option<&WorkerResult>,
        reason: Option<Reason>,
        applied: Applied,
        background: &mut JoinSet<()>,
    ) -> Option<Delivery> {
        match (applied, result) {
            (Applied::BadRow(refusal), _) => {
                error!(
                    reason = refusal,
                    "the store refuses a failed message, it stays in its queue"
                );
                let (publisher, drain) = (self.publisher.clone(), self.drain.clone());
                background.spawn(return_later(publisher, delivery, reason, drain));
                return None;
            }
            (applied, Some(result)) if applied.is_stored() => {
                log_result(&result.id.to_string(), &result.outcome, &delivery.properties.headers);
            }
            (dropped, result) => {
                debug!(requestId = ?result.map(|result| result.id), ?dropped, "ended before");
            }
        }
        Some(delivery)
    }
}

impl BatchHandler for DeadLetterHandler {
    const PREFETCH: u16 = PREFETCH;

    fn consumer(&self, prefetch: u16) -> Consumer {
        let consume = Consume::queue(topology::FAILED, prefetch, "failed");
        self.connection.consume(consume.only_with(self.lock.clone()))
    }

    fn may_wait(&self, _: &Delivery) -> bool {
        // They are few.
        false
    }

    async fn handle(&self, batch: Vec<Delivery>, background: &mut JoinSet<()>) -> BatchOutcome {
        let (mut results, mut parked) = (Batch::default(), Batch::default());
        for delivery in batch {
            let Delivery { properties, body, .. } = &delivery;
            if let Some(message) = put_back::put_back(properties, body) {
                let (publisher, drain) = (self.publisher.clone(), self.drain.clone());
                // Not in the background of the batch, which ends when the store is away: this needs no store.
                tokio::spawn(put_back::publish(publisher, message, delivery, drain));
                continue;
            }
            match parse_failed_queue_message(properties, body) {
                FailedQueueMessage::Result(result) => results.push(delivery, result),
                FailedQueueMessage::Parked(message) => parked.push(delivery, message),
            }
        }
        let stored = self.store_results(results, background).await;
        stored.and(self.park(parked, background).await)
    }
}

/// Returns a message to its queue after a while.
async fn return_later(
    publisher: Publisher,
    delivery: Delivery,
    reason: Option<Reason>,
    drain: CancellationToken,
) {
    tokio::select! {
        () = sleep(REFUSED_PAUSE) => {}
        () = delivery.revoked() => {}
        () = drain.cancelled() => {}
    }
    return_message(&publisher, delivery, reason).await;
}
