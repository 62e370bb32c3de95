//! A delivered request: what its message says, and the copies of it that are published again.

use std::time::{Duration, SystemTime};

use pipeline::{
    broker::Delivery,
    contract::{Headers, MAX_ID_BYTES, Message, Properties, headers},
    topology,
};

/// A delivered request, as the decisions see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IncomingRequest<'a> {
    /// The routing key that the message was published with.
    pub(crate) routing_key: &'a str,
    /// The message's properties and headers.
    pub(crate) properties: &'a Properties,
    /// The message's body.
    pub(crate) body: &'a [u8],
    /// Whether the broker delivered the message before.
    pub(crate) redelivered: bool,
}

impl<'a> From<&'a Delivery> for IncomingRequest<'a> {
    fn from(delivery: &'a Delivery) -> Self {
        let Delivery { routing_key, properties, body, redelivered, .. } = delivery;
        Self { routing_key, properties, body, redelivered: *redelivered }
    }
}

impl IncomingRequest<'_> {
    /// Which attempt this is, from 1. Foreign producers need not set it.
    pub(crate) fn attempt(&self) -> i64 {
        self.number(headers::ATTEMPT).max(1)
    }

    /// Which run this is, from 0.
    pub(crate) fn run(&self) -> i64 {
        self.number(headers::RUN)
    }

    /// Which delivery of this attempt this is, from 1, as far as deliveries were counted: by the broker,
    /// and by the processors that published the message again.
    pub(crate) fn deliveries(&self) -> i64 {
        self.number(headers::DELIVERIES) + self.number(headers::DELIVERY_COUNT) + 1
    }

    /// Whether this is a redelivery that the broker did not count, as from a classic queue.
    pub(crate) fn is_uncounted_redelivery(&self) -> bool {
        let counts = |name| self.properties.headers.has(name);
        self.redelivered && !counts(headers::DELIVERY_COUNT) && !counts(headers::ACQUIRED_COUNT)
    }

    /// When the request expired, if it has expired by now.
    pub(crate) fn expired_at(&self, now: SystemTime) -> Option<String> {
        let at = headers::time(&self.properties.headers, headers::EXPIRES_AT)?;
        (at <= now).then(|| headers::moment(at))
    }

    /// How long the request must still wait, if it must.
    pub(crate) fn time_until_not_before(&self, now: SystemTime) -> Option<Duration> {
        let at = headers::time(&self.properties.headers, headers::NOT_BEFORE)?;
        at.duration_since(now).ok().filter(|left| !left.is_zero())
    }

    /// The copy that hands the same attempt, as the same delivery, to another worker. None if a requeue
    /// does as well: the broker does not count it, or this was the first of up to `max_deliveries`
    /// deliveries. A request that was `started` cannot expire any more.
    pub(crate) fn hand_back_copy(
        &self,
        max_deliveries: i64,
        started: bool,
        now: SystemTime,
    ) -> Option<Message> {
        // Brokers that set this header do not count a requeue; all others do.
        let requeue_counts = !self.properties.headers.has(headers::ACQUIRED_COUNT);
        let first_of_several = self.deliveries() == 1 && max_deliveries > 1;
        let must_drop_expiry = started && self.can_expire();
        if !must_drop_expiry && (!requeue_counts || first_of_several) {
            return None;
        }
        let mut copy = self.with_deliveries(self.deliveries() - 1, now);
        if started {
            copy.properties.headers.remove(headers::EXPIRES_AT);
            copy.properties.expiration = None;
        }
        Some(copy)
    }

    fn can_expire(&self) -> bool {
        self.properties.headers.has(headers::EXPIRES_AT) || self.properties.expiration.is_some()
    }

    /// The copy that counts the delivery that the broker did not count.
    pub(crate) fn counted_copy(&self, now: SystemTime) -> Message {
        self.with_deliveries(self.deliveries(), now)
    }

    /// The copy that goes through a waiting queue once more, as the same attempt and delivery.
    pub(crate) fn postponed_copy(&self, delay: Duration, now: SystemTime) -> Message {
        let copy = self.with_deliveries(self.deliveries() - 1, now);
        into_waiting_queue(copy, delay)
    }

    /// The message of the next attempt, which starts after this delay, and not before `not_before`.
    pub(crate) fn next_attempt(&self, delay: Duration, not_before: Option<SystemTime>) -> Message {
        let mut copy = self.copy();
        let headers = &mut copy.properties.headers;
        // The request was started, so it cannot expire any more.
        for of_this_attempt in [headers::DELIVERIES, headers::EXPIRES_AT, headers::NOT_BEFORE] {
            headers.remove(of_this_attempt);
        }
        headers.set(headers::ATTEMPT, self.attempt().saturating_add(1));
        if let Some(at) = not_before {
            headers.set(headers::NOT_BEFORE, headers::moment(at));
        }
        into_waiting_queue(copy, delay)
    }

    fn with_deliveries(&self, before: i64, now: SystemTime) -> Message {
        let mut copy = self.copy();
        copy.properties.headers.set(headers::DELIVERIES, before);
        let expires_at = headers::time(&self.properties.headers, headers::EXPIRES_AT);
        let left = |at: SystemTime| at.duration_since(now).unwrap_or_default();
        copy.properties.expiration = expires_at.map(left).or(self.properties.expiration);
        copy
    }

    /// The same request, to the queue it came from.
    fn copy(&self) -> Message {
        let original = self.properties;
        let id = |text: &Option<String>| text.clone().filter(|text| text.len() <= MAX_ID_BYTES);
        let properties = Properties {
            content_type: original.content_type.clone(),
            message_id: id(&original.message_id),
            correlation_id: id(&original.correlation_id),
            timestamp: original.timestamp,
            app_id: None,
            kind: Some("request".to_owned()),
            persistent: true,
            expiration: None,
            headers: without_result(&original.headers),
        };
        Message {
            exchange: topology::EXCHANGE.into(),
            routing_key: request_key(self.routing_key).to_owned(),
            properties,
            body: self.body.to_vec(),
        }
    }

    fn number(&self, name: &str) -> i64 {
        self.properties.headers.number(name).unwrap_or(0).clamp(0, i64::from(u32::MAX))
    }
}

/// The headers to publish again, without those that only the message of a result or a failure has.
fn without_result(original: &Headers) -> Headers {
    let mut headers = Headers::to_publish_again(original);
    for name in [
        headers::WORKER,
        headers::STARTED_AT,
        headers::FINISHED_AT,
        headers::REASON,
        headers::ERROR,
    ] {
        headers.remove(name);
    }
    headers
}

/// Directs a message into the queue where messages wait this long. The queue sets the time to live.
fn into_waiting_queue(mut message: Message, delay: Duration) -> Message {
    message.exchange = topology::retry(delay).into();
    message.properties.expiration = None;
    message
}

/// The routing key that leads back to the queue of a request. A message that was published to the queue
/// by its name, through the default exchange, has that name as its key.
fn request_key(routing_key: &str) -> &str {
    let is_request = |key: &str| {
        key.strip_prefix(topology::KEY_REQUEST)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if is_request(routing_key) { routing_key } else { topology::KEY_REQUEST }
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

    fn request(properties: &Properties) -> IncomingRequest<'_> {
        IncomingRequest { routing_key: "request.big", properties, body: b"{}", redelivered: true }
    }

    fn number(message: &Message, name: &str) -> Option<i64> {
        message.properties.headers.number(name)
    }

    #[test]
    fn deliveries_are_counted_over_all_copies_of_a_message() {
        let nothing = Properties::default();
        let first = request(&nothing);
        assert_eq!((first.run(), first.attempt(), first.deliveries()), (0, 1, 1));
        let counted =
            properties(&[(headers::DELIVERY_COUNT, 2.into()), (headers::DELIVERIES, "3".into())]);
        assert_eq!(request(&counted).deliveries(), 6);
        let absurd = properties(&[
            (headers::DELIVERIES, i64::MAX.into()),
            (headers::DELIVERY_COUNT, (-1).into()),
        ]);
        assert!(request(&absurd).deliveries() > 1);
    }

    #[test]
    fn redeliveries_of_classic_queues_are_uncounted() {
        assert!(request(&Properties::default()).is_uncounted_redelivery());
        for count in [headers::DELIVERY_COUNT, headers::ACQUIRED_COUNT] {
            assert!(!request(&properties(&[(count, 1.into())])).is_uncounted_redelivery());
        }
        let counted = request(&Properties::default()).counted_copy(AT);
        assert_eq!(number(&counted, headers::DELIVERIES), Some(1));
    }

    #[test]
    fn a_started_request_is_handed_back_without_its_expiry() {
        let at = headers::moment(AT + SECOND);
        let in_time = properties(&[(headers::EXPIRES_AT, at.into())]);
        assert!(request(&in_time).hand_back_copy(5, false, AT).is_none());
        let copy = request(&in_time).hand_back_copy(5, true, AT).unwrap();
        assert_eq!(request(&copy.properties).expired_at(AT + SECOND), None);
        assert_eq!(
            (copy.properties.expiration, number(&copy, headers::DELIVERIES)),
            (None, Some(0))
        );
    }

    #[test]
    fn a_hand_back_is_not_counted_as_a_delivery() {
        let first = Properties::default();
        assert!(request(&first).hand_back_copy(2, false, AT).is_none());
        let only = request(&first).hand_back_copy(1, false, AT).unwrap();
        assert_eq!(request(&only.properties).deliveries(), 1);
        // As the broker counts the first nack, and then for ever.
        let mut again = properties(&[(headers::DELIVERY_COUNT, 1.into())]);
        for _ in 0..50 {
            assert_eq!(request(&again).deliveries(), 2);
            again = request(&again).hand_back_copy(5, false, AT).unwrap().properties;
        }
        let not_counted =
            properties(&[(headers::DELIVERY_COUNT, 1.into()), (headers::ACQUIRED_COUNT, 2.into())]);
        assert!(request(&not_counted).hand_back_copy(5, false, AT).is_none());
    }

    #[test]
    fn the_next_attempt_resets_the_deliveries_and_keeps_key_and_trace() {
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
        let next = request(&properties).next_attempt(10 * SECOND, Some(AT + 60 * SECOND));
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
        let again = request(&next.properties);
        assert_eq!((again.deliveries(), again.time_until_not_before(AT)), (1, Some(60 * SECOND)));
        assert_eq!(again.time_until_not_before(AT + 60 * SECOND), None);
    }

    #[test]
    fn a_postponed_or_handed_back_copy_is_the_same_attempt_and_delivery() {
        let counted = properties(&[
            (headers::ATTEMPT, 2.into()),
            (headers::DELIVERY_COUNT, 2.into()),
            (headers::EXPIRES_AT, headers::moment(AT + 5 * SECOND).into()),
        ]);
        let off = request(&counted).postponed_copy(SECOND, AT);
        let back = request(&counted).hand_back_copy(5, false, AT).unwrap();
        assert_eq!((&*off.exchange, &*back.exchange), ("processing.retry.1000", "processing"));
        let expirations = (off.properties.expiration, back.properties.expiration);
        assert_eq!(expirations, (None, Some(5 * SECOND)));
        for copy in [off, back] {
            let copy = request(&copy.properties);
            assert_eq!((copy.attempt(), copy.deliveries()), (2, 3));
        }
    }

    #[test]
    fn a_request_from_the_default_exchange_goes_back_through_ours() {
        assert_eq!(["request", "request.a"].map(request_key), ["request", "request.a"]);
        assert_eq!(["processing.requests", "requests", ""].map(request_key), ["request"; 3]);
    }

    #[test]
    fn a_request_expires_at_its_time_and_not_before() {
        let expires = properties(&[(headers::EXPIRES_AT, headers::moment(AT + SECOND).into())]);
        assert!(request(&expires).expired_at(AT + SECOND).is_some());
        assert_eq!(request(&expires).expired_at(AT), None);
        let unreadable = properties(&[(headers::EXPIRES_AT, "soon".into())]);
        assert_eq!(request(&unreadable).expired_at(AT), None);
    }
}
