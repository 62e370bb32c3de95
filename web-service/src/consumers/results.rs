//! The results as they come back from the workers: a batch is one transaction, then acked.

use std::{borrow::Cow, sync::Arc};

use pipeline::{
    broker::{Broker, Consume, Consumer, Delivery, LockState, Publisher},
    contract::{Headers, Request, ResultMessage, codes, headers},
    shutdown::Shutdown,
    topology,
};
use tokio::{sync::watch, task::JoinSet};
use tracing::{debug, error, info, warn};

use crate::{
    consumers::{
        batch_consumer::{Batch, Desk, Received},
        from_message,
    },
    events::notifier::Notifier,
};
use store::{Applied, ResultOutcome, Store, WorkerResult};

/// How many results the broker may have on their way to us, and how many are stored at once.
const PREFETCH: u16 = 250;
/// How much of a result is logged.
const SHOWN_CHARACTERS: usize = 200;

/// Stores results.
pub struct Results {
    /// Whence results come.
    pub broker: Arc<Broker>,
    /// Where they go.
    pub store: Store,
    /// Who is told.
    pub notifier: Notifier,
    /// Held by the web service that may take results, where only one may.
    pub lock: Option<watch::Receiver<LockState>>,
    /// When to stop.
    pub shutdown: Shutdown,
}

impl Desk for Results {
    const BATCH: u16 = PREFETCH;

    fn consumer(&self, prefetch: u16) -> Consumer {
        let consume = Consume::queue(topology::RESULTS, prefetch, "results");
        self.broker.consume(consume.only_with(self.lock.clone()))
    }

    async fn receive(&self, batch: Vec<Delivery>, aside: &mut JoinSet<()>) -> Received {
        let mut results = Batch::default();
        for delivery in batch {
            match ResultMessage::parse(&delivery.body) {
                Ok(result) => match from_message::ending(&result, &delivery.properties.headers) {
                    Some(ending) => results.push(delivery, ending),
                    // A foreign producer's: there is no row for it, but the log tells of it.
                    None => {
                        let end = from_message::end(&result.outcome);
                        log(result.id.text(), &end, &delivery.properties.headers);
                        delivery.ack();
                    }
                },
                // The results behind it don't wait until the failed queue has taken it.
                Err(malformed) => self.refuse(aside, delivery, malformed.reason),
            }
        }
        let settle = |delivery, ending: &WorkerResult, applied| {
            self.settle(delivery, ending, applied, aside)
        };
        results.finish(&self.store, &self.notifier, settle).await
    }
}

impl Results {
    /// Says what became of a result, and lets the broker forget it.
    fn settle(
        &self,
        delivery: Delivery,
        ending: &WorkerResult,
        applied: Applied,
        aside: &mut JoinSet<()>,
    ) {
        match applied {
            Applied::Stored => {
                log(&ending.id.to_string(), &ending.end, &delivery.properties.headers);
            }
            Applied::BadRow(reason) => return self.refuse(aside, delivery, reason),
            dropped => {
                if dropped == Applied::Duplicate && delivery.redelivered {
                    // Nobody may have been left to log it the first time.
                    log(&ending.id.to_string(), &ending.end, &delivery.properties.headers);
                }
                debug!(requestId = %ending.id, ?dropped, "a result came too late");
            }
        }
        delivery.ack();
    }

    fn refuse(&self, aside: &mut JoinSet<()>, delivery: Delivery, reason: String) {
        let (publisher, shutdown) = (self.broker.publisher(), self.shutdown.clone());
        aside.spawn(refuse(publisher, shutdown, delivery, reason));
    }
}

/// Keeps what is not a result, out of the way of those that are. If the broker ends the
/// subscription meanwhile, the message is let go of: no result would come before.
async fn refuse(publisher: Publisher, shutdown: Shutdown, delivery: Delivery, reason: String) {
    warn!(bytes = delivery.body.len(), reason, "a message on the results queue can't be stored");
    let body = delivery.body.clone();
    let message = Request::failed(&delivery.properties, body, codes::MALFORMED, &reason);
    let handed_over = tokio::select! {
        handed_over = publisher.publish_until_confirmed(&message, &shutdown.now) => handed_over,
        () = delivery.lapsed() => return,
    };
    match handed_over {
        Ok(()) => delivery.ack(),
        Err(error) => {
            error!("a malformed result could not be handed to the failed queue: {error}");
            delivery.requeue();
        }
    }
}

/// One line for each final state, so that the log alone tells what became of a request.
pub(crate) fn log(id: &str, end: &ResultOutcome, headers: &Headers) {
    let text = match end {
        ResultOutcome::Completed(json) => beginning(json).into_owned(),
        ResultOutcome::Failed(error) => error.to_json(),
    };
    info!(
        requestId = id,
        status = end.status().as_str(),
        attempt = headers.number(headers::ATTEMPT),
        worker = headers.text(headers::WORKER),
        ms = headers::milliseconds(headers),
        result = shown(&text),
        "result"
    );
}

/// As much as can be shown, and not much more: a result may have many megabytes.
fn beginning(json: &[u8]) -> Cow<'_, str> {
    let longest = SHOWN_CHARACTERS * char::MAX.len_utf8();
    String::from_utf8_lossy(&json[..json.len().min(longest)])
}

fn shown(text: &str) -> &str {
    text.char_indices().nth(SHOWN_CHARACTERS).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_result_is_shown_by_its_beginning() {
        assert_eq!(shown("short"), "short");
        assert_eq!(shown(&"ü".repeat(500)), "ü".repeat(200));
        for text in ["a🦀".repeat(500), "ü".repeat(500), "short".into()] {
            assert_eq!(shown(&beginning(text.as_bytes())), shown(&text));
        }
    }
}
