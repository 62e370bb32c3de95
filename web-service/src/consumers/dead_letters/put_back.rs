//! Puts requests back that the broker gave up: its delivery limit counts hand-overs, not deaths.
//!
//! When a broker crashes while many consumers are idle, it counts a delivery for each of them, so a healthy request can
//! reach the limit of its queue at once. It is published again as one more delivery; the processors find out whether
//! its workers died.

use std::time::Duration;

use pipeline::{
    broker::{Delivery, Publisher},
    contract::{Headers, Message, Properties, Request, headers},
    log_messages::PUT_BACK,
    topology,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::consumers::from_message::request_type;

/// How often a request is put back, unless processors find that its workers live: more often than the greatest
/// `MAX_DELIVERIES` of processors, who decide. A message that ends workers which count nothing themselves is delivered so
/// many times 20 times.
const MAX_PUT_BACKS: i64 = 20;

/// How long a dead letter is kept that the broker does not take as a request, before it is requeued.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

/// The message that puts a request back. None if this is none, or it was put back too often.
pub(crate) fn put_back(original: &Properties, body: &[u8]) -> Option<Message> {
    let headers = &original.headers;
    let deliveries = number(headers, headers::DELIVERIES);
    let survived = number(headers, headers::SURVIVED).min(deliveries);
    let is_over = deliveries - survived >= MAX_PUT_BACKS;
    if is_over || !was_given_up(headers) || Request::parse(body).is_err() {
        return None;
    }
    let mut copy = Request::failed(original, body.to_vec(), "", "");
    let request_type = request_type(headers);
    copy.routing_key = request_type.routing_key();
    copy.properties.kind = Some("request".into());
    let headers = &mut copy.properties.headers;
    headers.set_request_type(&request_type);
    headers.set(headers::DELIVERIES, deliveries + 1);
    // A worker had it, so it cannot expire any more.
    for dropped in [headers::REASON, headers::ERROR, headers::EXPIRES_AT] {
        headers.remove(dropped);
    }
    Some(copy)
}

/// Publishes a request again until the broker confirms it, then acks the dead letter. It is requeued only when `drain`
/// is cancelled, or after a while if the broker does not take it: each requeue counts as a delivery.
pub(crate) async fn publish(
    publisher: Publisher,
    message: Message,
    delivery: Delivery,
    drain: CancellationToken,
) {
    let id = message.properties.message_id.clone();
    let deliveries = message.properties.headers.number(headers::DELIVERIES);
    let published = tokio::select! {
        biased;
        () = delivery.revoked() => return,
        published = publisher.publish_until_confirmed(message, &drain) => published,
    };
    match published {
        Ok(()) => {
            info!(requestId = id, deliveries, "{PUT_BACK}");
            delivery.ack();
        }
        Err(error) => {
            warn!(requestId = id, "not put back, requeueing the dead letter: {error}");
            tokio::select! {
                () = sleep(REFUSED_PAUSE) => {}
                () = delivery.revoked() => {}
                () = drain.cancelled() => {}
            }
            delivery.requeue();
        }
    }
}

/// Whether the broker dead-lettered the message because of its delivery limit, and no program did.
fn was_given_up(headers: &Headers) -> bool {
    let text = |last, first| headers.text(last).or_else(|| headers.text(first));
    let reason = text(headers::LAST_DEATH_REASON, headers::FIRST_DEATH_REASON);
    let queue = text(headers::LAST_DEATH_QUEUE, headers::FIRST_DEATH_QUEUE);
    headers.text(headers::REASON).is_none()
        && reason == Some("delivery_limit")
        && queue.is_none_or(|queue| queue.starts_with(topology::REQUESTS))
}

fn number(headers: &Headers, name: &str) -> i64 {
    headers.number(name).unwrap_or(0).clamp(0, i64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"requestId":"me","requestData":1}"#;

    fn given_up(headers: &[(&'static str, i64)]) -> Properties {
        let mut properties = Properties::default();
        for (name, value) in headers {
            properties.headers.set(*name, *value);
        }
        properties.headers.set(headers::FIRST_DEATH_REASON, "delivery_limit");
        properties.headers.set(headers::FIRST_DEATH_QUEUE, "processing.requests");
        properties
    }

    #[test]
    fn a_request_that_the_broker_gave_up_is_put_back_as_one_more_delivery() {
        let mut original = given_up(&[(headers::ATTEMPT, 3), (headers::DELIVERY_COUNT, 21)]);
        original.headers.set(headers::EXPIRES_AT, "2020-01-01T00:00:00Z");
        let message = put_back(&original, BODY).unwrap();
        assert_eq!((&*message.exchange, &*message.routing_key), ("processing", "request"));
        assert_eq!((message.body.as_slice(), message.properties.expiration), (BODY, None));
        let names: Vec<_> = message.properties.headers.iter().map(|(name, _)| name).collect();
        assert_eq!(names, [headers::ATTEMPT, headers::DELIVERIES]);
        assert_eq!(message.properties.headers.number(headers::DELIVERIES), Some(1));
    }

    #[test]
    fn a_request_is_put_back_into_the_queue_that_gave_it_up() {
        let put_back = |queue: &str, named: Option<&str>| {
            let mut original = given_up(&[]);
            original.headers.set(headers::FIRST_DEATH_QUEUE, queue);
            if let Some(named) = named {
                original.headers.set(headers::TYPE, named);
            }
            let message = put_back(&original, BODY).unwrap();
            let told = message.properties.headers.text(headers::TYPE).map(str::to_owned);
            (message.routing_key, told)
        };
        let video = ("request.video".to_owned(), Some("video".to_owned()));
        assert_eq!(put_back("processing.requests.video", None), video);
        assert_eq!(put_back("processing.requests.video", Some("audio")), video);
        assert_eq!(put_back("processing.requests", None), ("request".to_owned(), None));
    }

    #[test]
    fn it_is_not_put_back_for_ever() {
        let put_back = |of: &[(&'static str, i64)]| put_back(&given_up(of), BODY).is_some();
        assert!(put_back(&[(headers::DELIVERIES, MAX_PUT_BACKS - 1)]));
        assert!(!put_back(&[(headers::DELIVERIES, MAX_PUT_BACKS)]));
        assert!(put_back(&[(headers::DELIVERIES, MAX_PUT_BACKS), (headers::SURVIVED, 1)]));
    }

    #[test]
    fn processors_decide_before_it_is_given_up_whatever_their_max_deliveries_is() {
        assert!(pipeline::config::deliveries(&MAX_PUT_BACKS.to_string()).is_err());
    }

    #[test]
    fn nothing_else_is_put_back() {
        assert!(put_back(&given_up(&[]), b"nonsense").is_none());
        let other = |name: &'static str, value: &str| {
            let mut properties = given_up(&[]);
            properties.headers.set(name, value);
            put_back(&properties, BODY)
        };
        assert!(other(headers::REASON, "poison").is_none());
        assert!(other(headers::LAST_DEATH_REASON, "rejected").is_none());
        assert!(other(headers::LAST_DEATH_QUEUE, "processing.results").is_none());
        assert!(put_back(&Properties::default(), BODY).is_none());
    }
}
