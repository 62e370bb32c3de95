//! Returns messages to the failed queue: requeues them, or publishes copies before the delivery limit is near.
//!
//! Brokers up to 4.2 count each requeue as a delivery, and all count lost connections. After 20 deliveries the
//! broker moves a message to `processing.unreadable`, which is meant for messages that nobody can receive. A
//! copy begins at 0 again, so however long the store is away, a readable message stays in the failed queue.

use std::{mem, time::Duration};

use futures_util::future::join_all;
use pipeline::{
    broker::{Delivery, Publisher},
    contract::{Headers, Message, Properties, Request, headers},
    log_messages::{REPUBLISHED_FAILED, REQUEUEING},
};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::consumers::{batch::NotStored, batch_outcome::BatchOutcome};
use store::NewParked;

/// The count of deliveries from which on a copy is published. Far below the limit: connections may be lost
/// before the message is here again.
const MAX_DELIVERY_COUNT: i64 = 5;
/// How long the broker may take to confirm a copy.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a message came to the failed queue. A copy has to carry it, since the broker's own headers, which may
/// be all that tells it, are lost.
#[derive(Debug)]
pub(crate) struct Reason {
    code: String,
    error: String,
}

impl Reason {
    /// The reason of a message that was to be parked.
    pub(crate) fn of(parked: &NewParked) -> Option<Self> {
        Some(Self { code: parked.reason.clone(), error: parked.error.clone() })
    }
}

/// How a message goes back to its queue.
#[derive(Debug, PartialEq, Eq)]
enum Return {
    Requeue,
    PublishCopy,
}

impl Return {
    fn of(headers: &Headers) -> Self {
        match headers.number(headers::DELIVERY_COUNT) {
            Some(count) if count >= MAX_DELIVERY_COUNT => Self::PublishCopy,
            _ => Self::Requeue,
        }
    }
}

/// Returns all messages of a batch to the failed queue. `reason` gives the reason that a row's message came
/// there for; none for a result, which has to stay without one to be read as a result again.
pub(crate) async fn return_all<T>(
    publisher: &Publisher,
    not_stored: NotStored<T>,
    reason: impl Fn(&T) -> Option<Reason>,
) -> BatchOutcome {
    let NotStored { batch, error } = not_stored;
    warn!(messages = batch.rows().len(), %error, "{REQUEUEING}");
    let returns = batch.into_messages().map(|(delivery, row)| {
        let reason = reason(&row);
        return_message(publisher, delivery, reason)
    });
    join_all(returns).await;
    BatchOutcome::StoreAway
}

/// Returns a message to the failed queue.
pub(crate) async fn return_message(
    publisher: &Publisher,
    mut delivery: Delivery,
    reason: Option<Reason>,
) {
    if delivery.is_revoked() || Return::of(&delivery.properties.headers) == Return::Requeue {
        return delivery.requeue();
    }
    let body = mem::take(&mut delivery.body);
    let copy = copy(&delivery.properties, body, reason);
    let id = copy.properties.message_id.clone();
    match publisher.publish(copy, Instant::now() + CONFIRM_TIMEOUT).await {
        Ok(()) => {
            info!(message_id = id, "{REPUBLISHED_FAILED}");
            delivery.ack();
        }
        Err(error) => {
            debug!("no copy was published, requeueing the message: {error}");
            delivery.requeue();
        }
    }
}

/// The same message without the headers of the broker.
fn copy(original: &Properties, body: Vec<u8>, reason: Option<Reason>) -> Message {
    match reason {
        Some(Reason { code, error }) => Request::failed(original, body, &code, &error),
        None => {
            let mut copy = Request::failed(original, body, "", "");
            copy.properties.headers.remove(headers::REASON);
            copy.properties.headers.remove(headers::ERROR);
            copy
        }
    }
}

#[cfg(test)]
mod tests {
    use pipeline::topology;

    use super::*;
    use crate::consumers::from_message::{FailedQueueMessage, parse_failed_queue_message};

    const ID: &str = "01a1fd87-448c-755a-a380-a6f598ec5ae1";

    fn properties(headers: &[(&'static str, &str)]) -> Properties {
        let mut properties = Properties::default();
        headers.iter().for_each(|(name, value)| properties.headers.set(*name, *value));
        properties
    }

    fn parse(properties: &Properties, body: &[u8]) -> FailedQueueMessage {
        parse_failed_queue_message(properties, body)
    }

    #[test]
    fn a_copy_is_published_long_before_the_delivery_limit() {
        let mut headers = Headers::default();
        assert_eq!(Return::of(&headers), Return::Requeue, "the broker does not count");
        for count in 0..topology::DELIVERY_LIMIT {
            headers.set(headers::DELIVERY_COUNT, count);
            let expected = if count < 5 { Return::Requeue } else { Return::PublishCopy };
            assert_eq!(Return::of(&headers), expected, "{count}");
        }
        const { assert!(topology::DELIVERY_LIMIT >= 3 * MAX_DELIVERY_COUNT) };
    }

    #[test]
    fn a_copy_of_a_dead_letter_keeps_its_reason_and_its_headers() {
        let mut original = properties(&[
            ("x-last-death-reason", "rejected"),
            ("x-last-death-queue", "processing.requests"),
            ("slowlane-worker", "a:1/1"),
            ("color", "blue"),
        ]);
        original.headers.set("x-delivery-count", 5);
        original.headers.set(headers::RUN, 2);
        original.correlation_id = Some(ID.to_owned());
        let FailedQueueMessage::Parked(parked) = parse(&original, b"nonsense") else { panic!() };
        let copy = copy(&original, b"nonsense".to_vec(), Reason::of(&parked));
        assert_eq!((&*copy.exchange, &*copy.routing_key), ("processing", "failed"));
        assert_eq!(copy.properties.headers.number(headers::DELIVERY_COUNT), None);
        let FailedQueueMessage::Parked(again) = parse(&copy.properties, &copy.body) else {
            panic!()
        };
        assert_eq!((again.reason, again.error), (parked.reason, parked.error));
        assert_eq!((again.body, again.result), (parked.body, parked.result));
    }

    #[test]
    fn a_copy_of_a_result_is_still_a_result() {
        let body = format!(r#"{{"requestId":"{ID}","processingResults":1}}"#);
        let original = properties(&[("x-first-death-reason", "delivery_limit")]);
        let copy = copy(&original, body.clone().into_bytes(), None);
        assert_eq!(parse(&copy.properties, &copy.body), parse(&original, body.as_bytes()));
    }

    #[test]
    fn a_copy_of_what_only_looks_like_a_result_is_not_one() {
        let body = format!(r#"{{"requestId":"{ID}","processingResults":1}}"#);
        for reason in ["malformed", ""] {
            let original = properties(&[("slowlane-reason", reason)]);
            let FailedQueueMessage::Parked(parked) = parse(&original, body.as_bytes()) else {
                panic!("{reason}")
            };
            let copy = copy(&original, body.clone().into_bytes(), Reason::of(&parked));
            let again = parse(&copy.properties, &copy.body);
            assert!(matches!(again, FailedQueueMessage::Parked(again) if again.reason == reason));
        }
    }
}
