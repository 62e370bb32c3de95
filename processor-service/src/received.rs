//! A request as it was delivered: what its message says of itself, and how it is published again.

use std::time::{Duration, SystemTime};

use pipeline::{
    broker::Delivery,
    contract::{Headers, MAX_ID_BYTES, Message, Properties, headers},
    topology,
};

/// A delivered message, as decisions see it.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The routing key it was published with.
    pub routing_key: &'a str,
    /// What it says of itself.
    pub properties: &'a Properties,
    /// The body's bytes.
    pub body: &'a [u8],
    /// Whether it was delivered to somebody before.
    pub redelivered: bool,
}

impl<'a> From<&'a Delivery> for Received<'a> {
    fn from(delivery: &'a Delivery) -> Self {
        let Delivery { routing_key, properties, body, redelivered, .. } = delivery;
        Self { routing_key, properties, body, redelivered: *redelivered }
    }
}

impl Received<'_> {
    /// Which attempt it is, from 1; foreign producers need not say.
    pub fn attempt(&self) -> i64 {
        self.number(headers::ATTEMPT).max(1)
    }

    /// Which run it belongs to, from 0.
    pub fn run(&self) -> i64 {
        self.number(headers::RUN)
    }

    /// Which delivery of this attempt it is, from 1, as far as that was counted: by the broker, and
    /// by those who published the message again.
    pub fn deliveries(&self) -> i64 {
        self.number(headers::DELIVERIES) + self.number(headers::DELIVERY_COUNT) + 1
    }

    /// Whether it was delivered before by a broker that doesn't count: from a classic queue.
    pub fn is_uncounted(&self) -> bool {
        let counts = |name| self.properties.headers.has(name);
        self.redelivered && !counts(headers::DELIVERY_COUNT) && !counts(headers::ACQUIRED_COUNT)
    }

    /// When it was too late to begin with it, if it is too late now.
    pub fn expired(&self, now: SystemTime) -> Option<String> {
        let at = headers::time(&self.properties.headers, headers::EXPIRES_AT)?;
        (at <= now).then(|| headers::moment(at))
    }

    /// How long it is still too early to begin with it, if it is.
    pub fn too_early(&self, now: SystemTime) -> Option<Duration> {
        let at = headers::time(&self.properties.headers, headers::NOT_BEFORE)?;
        at.duration_since(now).ok().filter(|left| !left.is_zero())
    }

    /// The message for somebody who is to have the same attempt, as the same delivery of it; none if it
    /// can simply be given back to the broker: that is not counted, or it was the first of several
    /// deliveries, and there are `most`. One that was begun can't be too late to begin any more.
    pub fn handed_back(&self, most: i64, begun: bool, now: SystemTime) -> Option<Message> {
        // A nack counts, except for the brokers that have this header.
        let counts = !self.properties.headers.has(headers::ACQUIRED_COUNT);
        let first_of_several = self.deliveries() == 1 && most > 1;
        let copy = || {
            let mut copy = self.with_deliveries(self.deliveries() - 1, now);
            if begun {
                copy.properties.headers.remove(headers::EXPIRES_AT);
                copy.properties.expiration = None;
            }
            copy
        };
        let must_forget_its_time = begun && self.can_expire();
        (must_forget_its_time || (counts && !first_of_several)).then(copy)
    }

    fn can_expire(&self) -> bool {
        self.properties.headers.has(headers::EXPIRES_AT) || self.properties.expiration.is_some()
    }

    /// The message with the delivery that the broker didn't count.
    pub fn counted(&self, now: SystemTime) -> Message {
        self.with_deliveries(self.deliveries(), now)
    }

    /// The message on another round through a waiting queue, still the same attempt and delivery.
    pub fn put_off(&self, delay: Duration, now: SystemTime) -> Message {
        let again = self.with_deliveries(self.deliveries() - 1, now);
        // The time to live is the waiting queue's.
        waiting(again, delay)
    }

    /// The message of the next attempt, which begins after this pause, and not before that moment if
    /// one is told.
    pub fn tried_again(&self, delay: Duration, not_before: Option<SystemTime>) -> Message {
        let mut again = self.again();
        let headers = &mut again.properties.headers;
        // It was begun, so it can't be too late to begin.
        for of_this_attempt in [headers::DELIVERIES, headers::EXPIRES_AT, headers::NOT_BEFORE] {
            headers.remove(of_this_attempt);
        }
        headers.set(headers::ATTEMPT, self.attempt().saturating_add(1));
        if let Some(at) = not_before {
            headers.set(headers::NOT_BEFORE, headers::moment(at));
        }
        waiting(again, delay)
    }

    fn with_deliveries(&self, before: i64, now: SystemTime) -> Message {
        let mut again = self.again();
        again.properties.headers.set(headers::DELIVERIES, before);
        let expires_at = headers::time(&self.properties.headers, headers::EXPIRES_AT);
        let left = |at: SystemTime| at.duration_since(now).unwrap_or_default();
        again.properties.expiration = expires_at.map(left).or(self.properties.expiration);
        again
    }

    /// The same request once more, on the way it came by.
    fn again(&self) -> Message {
        let original = self.properties;
        let id = |text: &Option<String>| text.clone().filter(|text| text.len() <= MAX_ID_BYTES);
        let mut headers = Headers::to_publish_again(&original.headers);
        for of_its_end in [
            headers::WORKER,
            headers::STARTED_AT,
            headers::FINISHED_AT,
            headers::REASON,
            headers::ERROR,
        ] {
            headers.remove(of_its_end);
        }
        let properties = Properties {
            content_type: original.content_type.clone(),
            message_id: id(&original.message_id),
            correlation_id: id(&original.correlation_id),
            timestamp: original.timestamp,
            app_id: None,
            kind: Some("request".to_owned()),
            persistent: true,
            expiration: None,
            headers,
        };
        Message {
            exchange: topology::EXCHANGE.into(),
            routing_key: key(self.routing_key).to_owned(),
            properties,
            body: self.body.to_vec(),
        }
    }

    fn number(&self, name: &str) -> i64 {
        self.properties.headers.number(name).unwrap_or(0).clamp(0, i64::from(u32::MAX))
    }
}

/// Into the queue that a message leaves after this pause.
fn waiting(mut message: Message, delay: Duration) -> Message {
    message.exchange = topology::retry(delay).into();
    message.properties.expiration = None;
    message
}

/// The key that leads back to the queue a message was in. One that was put there by the queue's own
/// name, past the exchange, has that for a key.
fn key(routing_key: &str) -> &str {
    let of_request = |key: &str| {
        key.strip_prefix(topology::KEY_REQUEST)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if of_request(routing_key) { routing_key } else { topology::KEY_REQUEST }
}

#[cfg(test)]
mod tests {
    use pipeline::contract::HeaderValue;

    use super::*;

    const AT: SystemTime = SystemTime::UNIX_EPOCH;
    const SECOND: Duration = Duration::from_secs(1);

    fn properties(headers: &[(&str, HeaderValue)]) -> Properties {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Properties { headers: headers.collect(), ..Properties::default() }
    }

    fn received(properties: &Properties) -> Received<'_> {
        Received { routing_key: "request.big", properties, body: b"{}", redelivered: true }
    }

    fn number(message: &Message, name: &str) -> Option<i64> {
        message.properties.headers.number(name)
    }

    #[test]
    fn deliveries_are_counted_over_all_copies_of_a_message() {
        let nothing = Properties::default();
        let first = received(&nothing);
        assert_eq!((first.run(), first.attempt(), first.deliveries()), (0, 1, 1));
        let counted =
            properties(&[(headers::DELIVERY_COUNT, 2.into()), (headers::DELIVERIES, "3".into())]);
        assert_eq!(received(&counted).deliveries(), 6);
        let absurd = properties(&[
            (headers::DELIVERIES, i64::MAX.into()),
            (headers::DELIVERY_COUNT, (-1).into()),
        ]);
        assert!(received(&absurd).deliveries() > 1);
    }

    #[test]
    fn only_classic_queues_deliver_again_without_counting() {
        assert!(received(&Properties::default()).is_uncounted());
        for count in [headers::DELIVERY_COUNT, headers::ACQUIRED_COUNT] {
            assert!(!received(&properties(&[(count, 1.into())])).is_uncounted());
        }
        let counted = received(&Properties::default()).counted(AT);
        assert_eq!(number(&counted, headers::DELIVERIES), Some(1));
    }

    #[test]
    fn what_was_begun_in_time_is_handed_back_without_its_time() {
        let at = headers::moment(AT + SECOND);
        let in_time = properties(&[(headers::EXPIRES_AT, at.into())]);
        assert!(received(&in_time).handed_back(5, false, AT).is_none());
        let copy = received(&in_time).handed_back(5, true, AT).unwrap();
        assert_eq!(received(&copy.properties).expired(AT + SECOND), None);
        assert_eq!(
            (copy.properties.expiration, number(&copy, headers::DELIVERIES)),
            (None, Some(0))
        );
    }

    #[test]
    fn a_hand_back_keeps_the_count_down() {
        let first = Properties::default();
        assert!(received(&first).handed_back(2, false, AT).is_none());
        let only = received(&first).handed_back(1, false, AT).unwrap();
        assert_eq!(received(&only.properties).deliveries(), 1);
        // As the broker counts the first nack, and then for ever.
        let mut again = properties(&[(headers::DELIVERY_COUNT, 1.into())]);
        for _ in 0..50 {
            assert_eq!(received(&again).deliveries(), 2);
            again = received(&again).handed_back(5, false, AT).unwrap().properties;
        }
        let not_counted =
            properties(&[(headers::DELIVERY_COUNT, 1.into()), (headers::ACQUIRED_COUNT, 2.into())]);
        assert!(received(&not_counted).handed_back(5, false, AT).is_none());
    }

    #[test]
    fn the_next_attempt_begins_anew_and_keeps_its_way_and_trace() {
        let mut properties = properties(&[
            (headers::ATTEMPT, 2.into()),
            (headers::RUN, 1.into()),
            (headers::DELIVERIES, 3.into()),
            (headers::DELIVERY_COUNT, 1.into()),
            (headers::EXPIRES_AT, headers::moment(AT + SECOND).into()),
            (headers::STARTED_AT, headers::moment(AT).into()),
            (headers::TRACEPARENT, "00-1".into()),
        ]);
        properties.message_id = Some("me".into());
        properties.expiration = Some(SECOND);
        let next = received(&properties).tried_again(10 * SECOND, Some(AT + 60 * SECOND));
        assert_eq!(
            (&*next.exchange, &*next.routing_key),
            ("processing.retry.10000", "request.big")
        );
        assert_eq!((next.properties.expiration, next.properties.persistent), (None, true));
        assert_eq!(next.properties.message_id.as_deref(), Some("me"));
        let names: Vec<_> = next.properties.headers.iter().map(|(name, _)| name).collect();
        let [attempt, not_before] = [headers::ATTEMPT, headers::NOT_BEFORE];
        assert_eq!(names, [attempt, not_before, headers::RUN, headers::TRACEPARENT]);
        assert_eq!(number(&next, attempt), Some(3));
        let again = received(&next.properties);
        assert_eq!((again.deliveries(), again.too_early(AT)), (1, Some(60 * SECOND)));
        assert_eq!(again.too_early(AT + 60 * SECOND), None);
    }

    #[test]
    fn what_is_put_off_or_handed_back_is_neither_another_attempt_nor_another_delivery() {
        let counted = properties(&[
            (headers::ATTEMPT, 2.into()),
            (headers::DELIVERY_COUNT, 2.into()),
            (headers::EXPIRES_AT, headers::moment(AT + 5 * SECOND).into()),
        ]);
        let off = received(&counted).put_off(SECOND, AT);
        let back = received(&counted).handed_back(5, false, AT).unwrap();
        assert_eq!((&*off.exchange, &*back.exchange), ("processing.retry.1000", "processing"));
        let expirations = (off.properties.expiration, back.properties.expiration);
        assert_eq!(expirations, (None, Some(5 * SECOND)));
        for copy in [off, back] {
            let copy = received(&copy.properties);
            assert_eq!((copy.attempt(), copy.deliveries()), (2, 3));
        }
    }

    #[test]
    fn what_came_past_the_exchange_goes_back_through_it() {
        assert_eq!(["request", "request.a"].map(key), ["request", "request.a"]);
        assert_eq!(["processing.requests", "requests", ""].map(key), ["request"; 3]);
    }

    #[test]
    fn a_request_expires_at_its_time_and_not_before() {
        let expires = properties(&[(headers::EXPIRES_AT, headers::moment(AT + SECOND).into())]);
        assert!(received(&expires).expired(AT + SECOND).is_some());
        assert_eq!(received(&expires).expired(AT), None);
        let unreadable = properties(&[(headers::EXPIRES_AT, "soon".into())]);
        assert_eq!(received(&unreadable).expired(AT), None);
    }
}
