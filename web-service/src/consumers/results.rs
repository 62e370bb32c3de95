//! Results: consumes what the workers publish, stores it in batches, acks after the commit.

use std::{sync::Arc, time::SystemTime};

use pipeline::{
    broker::{Broker, Consume, Consumer, Delivery, LockState, Publisher},
    contract::{Request, ResultMessage, TraceParent, codes, headers},
    log_messages::RESULT_DROPPED,
    shutdown::Shutdown,
    spans::{self, Kind, Span},
    topology,
};
use tokio::{sync::watch, task::JoinSet};
use tracing::{debug, error, warn};
use uuid::Uuid;

use crate::{
    consumers::{
        batch::{Batch, NotStored},
        batch_consumer::BatchHandler,
        batch_outcome::BatchOutcome,
        from_message::{result_outcome, worker_result},
        result_log::log_result,
    },
    events::notifier::Notifier,
    metrics::Metrics,
};
use store::{Applied, Store, WorkerResult};

/// How many results the broker may send ahead. With fewer, the store would wait for them.
const PREFETCH: u16 = 500;

/// Stores results.
pub struct ResultHandler {
    /// Consumes results, and publishes what is not a result to the failed queue.
    pub broker: Arc<Broker>,
    /// Where results are stored.
    pub store: Store,
    /// Tells of results that were stored.
    pub notifier: Notifier,
    /// Where results are counted that have no row.
    pub metrics: Metrics,
    /// With a lock, only its holder consumes.
    pub lock: Option<watch::Receiver<LockState>>,
    /// When to stop.
    pub shutdown: Shutdown,
}

impl ResultHandler {
    /// Logs what became of a result, and returns it to be acked.
    fn settle(
        &self,
        delivery: Delivery,
        result: &WorkerResult,
        applied: Applied,
        began: SystemTime,
        background: &mut JoinSet<()>,
    ) -> Option<Delivery> {
        match applied {
            Applied::Stored | Applied::StoredWithHistory => {
                record_span(&delivery, result, began);
                log_result(&result.id.to_string(), &result.outcome, &delivery.properties.headers);
            }
            Applied::BadRow(reason) => {
                self.reject(background, delivery, reason);
                return None;
            }
            dropped => {
                if dropped == Applied::Duplicate && delivery.redelivered {
                    // The first time the service may have died between the commit and the log line.
                    log_result(
                        &result.id.to_string(),
                        &result.outcome,
                        &delivery.properties.headers,
                    );
                }
                debug!(requestId = %result.id, ?dropped, "{RESULT_DROPPED}");
            }
        }
        Some(delivery)
    }

    /// Moves a message to the failed queue, in the background: the results behind it don't wait.
    fn reject(&self, background: &mut JoinSet<()>, delivery: Delivery, reason: String) {
        let (publisher, shutdown) = (self.broker.publisher(), self.shutdown.clone());
        background.spawn(move_to_failed(publisher, shutdown, delivery, reason));
    }
}

impl BatchHandler for ResultHandler {
    const PREFETCH: u16 = PREFETCH;

    fn consumer(&self, prefetch: u16) -> Consumer {
        let consume = Consume::queue(topology::RESULTS, prefetch, "results").gathering_acks();
        self.broker.consume(consume.only_with(self.lock.clone()))
    }

    /// Not if a client of this service waits for its request.
    fn may_wait(&self, delivery: &Delivery) -> bool {
        let (id, waiters) = (&delivery.properties.message_id, &self.notifier.waiters);
        // Workers of others need not set it.
        match id.as_deref().and_then(|id| Uuid::try_parse(id).ok()) {
            Some(id) => !waiters.is_awaited(id),
            None => waiters.is_empty(),
        }
    }

    async fn handle(&self, batch: Vec<Delivery>, background: &mut JoinSet<()>) -> BatchOutcome {
        let (mut results, began) = (Batch::default(), SystemTime::now());
        for delivery in batch {
            let headers = &delivery.properties.headers;
            match ResultMessage::parse(&delivery.body) {
                Ok(message) => match worker_result(&message, headers) {
                    Some(result) => results.push(delivery, result),
                    // The request came from a foreign producer: it has no row, only a log line.
                    None => {
                        self.metrics.result_of_foreign_id();
                        log_result(message.id.text(), &result_outcome(&message.outcome), headers);
                        delivery.ack();
                    }
                },
                Err(malformed) => self.reject(background, delivery, malformed.reason),
            }
        }
        let settle = |delivery, result: &WorkerResult, applied| {
            self.settle(delivery, result, applied, began, background)
        };
        let stored = results.store(&self.store, &self.notifier, settle).await;
        stored.unwrap_or_else(NotStored::requeue_all)
    }
}

/// Ends the span of a result that was stored, if its trace is recorded.
fn record_span(delivery: &Delivery, result: &WorkerResult, began: SystemTime) {
    if !spans::are_sent() {
        return;
    }
    let trace = delivery.properties.headers.text(headers::TRACEPARENT);
    let span = trace.and_then(TraceParent::parse);
    let span = span.and_then(|trace| Span::child(&trace, "store result", Kind::Consumer));
    let _recorded = span.map(|span| {
        let span = span.since(began).with("slowlane.request_id", result.id.to_string());
        span.with("slowlane.status", result.outcome.status().as_str())
    });
}

/// Publishes a message to the failed queue and acks it. If the broker ends the subscription meanwhile, the
/// message is let go of: no result would come before.
async fn move_to_failed(
    publisher: Publisher,
    shutdown: Shutdown,
    delivery: Delivery,
    reason: String,
) {
    warn!(bytes = delivery.body.len(), reason, "a message on the results queue can't be stored");
    let body = delivery.body.clone();
    let message = Request::failed(&delivery.properties, body, codes::MALFORMED, &reason);
    let published = tokio::select! {
        published = publisher.publish_until_confirmed(message, &shutdown.now) => published,
        () = delivery.revoked() => return,
    };
    match published {
        Ok(()) => delivery.ack(),
        Err(error) => {
            error!("a malformed result could not be moved to the failed queue: {error}");
            delivery.requeue();
        }
    }
}
