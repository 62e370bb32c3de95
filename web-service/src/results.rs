//! The results as they come back from the workers.

use pipeline::{
    broker::{Consumer, Delivery, Publisher},
    contract::{Outcome, Request, ResultMessage, codes, headers},
    shutdown::Shutdown,
};
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::state::NAME;

/// How many results are taken in one go.
const BATCH: usize = 250;
/// How much of a result is logged.
const SHOWN_CHARACTERS: usize = 200;

/// Receives results, and settles each only after it was dealt with.
#[derive(Clone)]
pub struct Receiver {
    publisher: Publisher,
    shutdown: Shutdown,
}

impl Receiver {
    /// A receiver that hands what is not a result to the failed queue through `publisher`.
    pub fn new(publisher: Publisher, shutdown: Shutdown) -> Self {
        Self { publisher, shutdown }
    }

    /// Receives until told to stop; results that had come until then are still dealt with.
    pub async fn run(self, mut consumer: Consumer) {
        let refusals = TaskTracker::new();
        let mut batch = Vec::with_capacity(BATCH);
        let mut stopping = false;
        loop {
            let more = tokio::select! {
                more = consumer.next_batch(&mut batch, BATCH) => more,
                () = self.shutdown.drain.cancelled(), if !stopping => {
                    stopping = true;
                    consumer.stop();
                    true
                }
            };
            if !more {
                break;
            }
            batch.drain(..).for_each(|delivery| self.receive(delivery, &refusals));
        }
        refusals.close();
        refusals.wait().await;
        consumer.close().await;
    }

    fn receive(&self, delivery: Delivery, refusals: &TaskTracker) {
        match ResultMessage::parse(&delivery.body) {
            Ok(result) => {
                log(&result, &delivery);
                delivery.ack();
            }
            // The results behind it don't wait until the failed queue has taken it.
            Err(malformed) => drop(refusals.spawn(self.clone().refuse(delivery, malformed.reason))),
        }
    }

    /// Keeps what is not a result, out of the way of those that are. If the broker ends the
    /// subscription meanwhile, the message is let go of: no result would come before.
    async fn refuse(self, delivery: Delivery, reason: String) {
        warn!(
            bytes = delivery.body.len(),
            reason, "a message on the results queue is not a result"
        );
        let body = delivery.body.clone();
        let message = Request::failed(NAME, &delivery.properties, body, codes::MALFORMED, &reason);
        let handed_over = tokio::select! {
            handed_over = self.publisher.hand_over(&message, &self.shutdown.now) => handed_over,
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
}

/// One line for each result, so that the log alone tells what became of a request.
fn log(result: &ResultMessage, delivery: &Delivery) {
    let headers = &delivery.properties.headers;
    let (status, text) = match &result.outcome {
        Outcome::Completed(results) => ("completed", results.get().to_owned()),
        Outcome::Failed(error) => ("failed", error.to_json()),
    };
    info!(
        requestId = %result.id,
        status,
        attempt = headers.number(headers::ATTEMPT),
        worker = headers.text(headers::WORKER),
        ms = headers::milliseconds(headers),
        result = shown(&text),
        "result"
    );
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
    }
}
