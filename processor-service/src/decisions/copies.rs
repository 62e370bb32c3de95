//! Copies of a delivered request that are published in its place, to the queue where it came from: counted, or handed back.

use std::time::SystemTime;

use pipeline::{
    contract::{Headers, MAX_ID_BYTES, Message, Properties, headers},
    topology,
};

use crate::decisions::incoming::IncomingRequest;

impl IncomingRequest<'_> {
    /// The copy that hands the same attempt to another worker. So many of the deliveries before were to this process,
    /// which cannot say so any more when it has ended: they are not counted. A request that was `started` cannot expire
    /// any more.
    pub(crate) fn hand_back_copy(&self, mine: i64, started: bool, now: SystemTime) -> Message {
        let mut copy = self.counted_copy(now);
        let others = (self.earlier_deliveries() - mine.max(0)).max(self.survived());
        copy.properties.headers.set(headers::DELIVERIES, others);
        if started {
            drop_expiry(&mut copy);
        }
        copy
    }

    /// The copy that counts the deliveries before this one, for the queue where it came from.
    pub(crate) fn counted_copy(&self, now: SystemTime) -> Message {
        let mut copy = self.copy();
        copy.properties.headers.set(headers::DELIVERIES, self.earlier_deliveries());
        let expires_at = headers::time(&self.properties.headers, headers::EXPIRES_AT);
        // By this host's clock it may be over, although the broker has delivered it.
        let left = |at: SystemTime| at.duration_since(now).ok().filter(|left| !left.is_zero());
        copy.properties.expiration = expires_at.and_then(left).or(self.properties.expiration);
        if self.was_delivered() {
            drop_expiry(&mut copy);
        }
        copy
    }

    /// The same, when so many more of these deliveries are known to have survived.
    pub(crate) fn survived_copy(&self, more: i64, now: SystemTime) -> Message {
        let mut copy = self.counted_copy(now);
        let survived = self.survived().saturating_add(more).min(self.earlier_deliveries());
        copy.properties.headers.set(headers::SURVIVED, survived);
        copy
    }

    /// The copy that does not count this redelivery: the broker was restarted, and nobody may have had it.
    pub(crate) fn uncounted_copy(&self, now: SystemTime) -> Message {
        self.copy_with_deliveries(self.number(headers::DELIVERIES), now)
    }

    /// The copy that counts this redelivery as the first one.
    pub(crate) fn first_redelivery_copy(&self, now: SystemTime) -> Message {
        self.copy_with_deliveries(1, now)
    }

    fn copy_with_deliveries(&self, deliveries: i64, now: SystemTime) -> Message {
        let mut copy = self.counted_copy(now);
        copy.properties.headers.set(headers::DELIVERIES, deliveries);
        copy
    }

    /// The routing key that leads back to the queue of a request: its own, unless that is none of requests.
    fn key_of_queue(&self) -> String {
        let rest = self.routing_key.strip_prefix(topology::KEY_REQUEST);
        match rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
            true => self.routing_key.to_owned(),
            false => self.request_type().unwrap_or_default().routing_key(),
        }
    }

    /// The same request, to the queue it came from.
    pub(super) fn copy(&self) -> Message {
        let original = self.properties;
        let id = |text: &Option<String>| text.clone().filter(|text| text.len() <= MAX_ID_BYTES);
        let properties = Properties {
            content_type: original.content_type.clone(),
            message_id: id(&original.message_id),
            correlation_id: id(&original.correlation_id),
            timestamp: original.timestamp,
            app_id: None,
            kind: Some("request".into()),
            persistent: true,
            expiration: None,
            headers: without_result(&original.headers),
        };
        Message {
            exchange: topology::EXCHANGE.into(),
            routing_key: self.key_of_queue(),
            properties,
            body: self.body.to_vec(),
        }
    }
}

fn drop_expiry(copy: &mut Message) {
    copy.properties.headers.remove(headers::EXPIRES_AT);
    copy.properties.expiration = None;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decisions::samples::{AT, SECOND, fresh, number, properties, request};

    #[test]
    fn deliveries_are_counted_over_all_copies_of_a_message() {
        let nothing = Properties::default();
        let first = fresh(&nothing);
        assert_eq!((first.run(), first.attempt(), first.deliveries()), (0, 1, 1));
        let mut latest = properties(&[(headers::DELIVERY_COUNT, 1.into())]);
        assert!(request(&latest).is_first_redelivery());
        for deaths in 1..=4 {
            let again = request(&latest);
            assert_eq!((again.suspected_deaths(), again.deliveries()), (deaths, deaths + 1));
            latest = again.counted_copy(AT).properties;
            assert_eq!(fresh(&latest).suspected_deaths(), deaths);
        }
        latest = request(&latest).survived_copy(3, AT).properties;
        let fresh = fresh(&latest);
        assert_eq!((fresh.suspected_deaths(), fresh.deliveries(), fresh.survived()), (2, 6, 3));
        let absurd =
            properties(&[(headers::DELIVERIES, i64::MAX.into()), (headers::SURVIVED, (-1).into())]);
        assert!(request(&absurd).deliveries() > 1);
    }

    #[test]
    fn more_deliveries_than_there_were_cannot_have_survived() {
        let survived = request(&Properties::default()).survived_copy(7, AT);
        assert_eq!(number(&survived, headers::SURVIVED), Some(1));
        assert_eq!(fresh(&survived.properties).suspected_deaths(), 0);
    }

    #[test]
    fn redeliveries_of_classic_queues_are_uncounted() {
        assert!(request(&Properties::default()).is_uncounted_redelivery());
        for count in [headers::DELIVERY_COUNT, headers::ACQUIRED_COUNT] {
            assert!(!request(&properties(&[(count, 1.into())])).is_uncounted_redelivery());
        }
        let of_start =
            properties(&[(headers::BROKER_START, "a".into()), (headers::DELIVERIES, 2.into())]);
        let classic = request(&of_start);
        assert!(classic.is_from_another_start(Some("b")));
        assert!(!classic.is_from_another_start(Some("a")) && !classic.is_from_another_start(None));
        assert_eq!(number(&classic.uncounted_copy(AT), headers::DELIVERIES), Some(2));
        assert_eq!(number(&classic.counted_copy(AT), headers::DELIVERIES), Some(3));
    }

    #[test]
    fn a_started_request_is_handed_back_without_its_expiry() {
        let at = headers::moment(AT + SECOND);
        let in_time = properties(&[(headers::EXPIRES_AT, at.into())]);
        let copy = fresh(&in_time).hand_back_copy(0, false, AT);
        assert!(copy.properties.headers.has(headers::EXPIRES_AT), "it has not started");
        let copy = fresh(&in_time).hand_back_copy(0, true, AT);
        assert_eq!(fresh(&copy.properties).expired_at(AT + SECOND), None);
        assert_eq!(copy.properties.expiration, None);
    }

    #[test]
    fn what_a_worker_had_does_not_expire() {
        let expired = (headers::EXPIRES_AT, headers::moment(AT).into());
        let quorum = properties(&[expired.clone(), (headers::DELIVERY_COUNT, 1.into())]);
        assert_eq!(request(&quorum).expired_at(AT), None);
        assert_eq!(request(&quorum).counted_copy(AT).properties.expiration, None);
        let classic = properties(&[expired]);
        assert!(request(&classic).expired_at(AT).is_some(), "nobody may have had it");
    }

    #[test]
    fn a_hand_back_is_not_counted_as_a_delivery() {
        let mut again = properties(&[(headers::DELIVERIES, 2.into())]);
        for _ in 0..50 {
            assert_eq!(fresh(&again).deliveries(), 3);
            again = fresh(&again).hand_back_copy(0, false, AT).properties;
        }
        let mine = |times| fresh(&again).hand_back_copy(times, false, AT).properties;
        assert_eq!(fresh(&mine(1)).suspected_deaths(), 1, "this process did not die of it");
        assert_eq!(fresh(&mine(9)).suspected_deaths(), 0);
    }

    #[test]
    fn the_broker_decides_whether_a_request_expires_in_its_queue() {
        let mut waiting = properties(&[(headers::EXPIRES_AT, headers::moment(AT).into())]);
        waiting.expiration = Some(5 * SECOND);
        let (ahead, request) = (AT + 7200 * SECOND, fresh(&waiting));
        assert_eq!(request.expired_at(ahead), None);
        assert_eq!(request.counted_copy(ahead).properties.expiration, Some(5 * SECOND));
    }

    #[test]
    fn a_request_from_the_default_exchange_goes_back_through_ours() {
        let of_type = properties(&[(headers::TYPE, "b".into())]);
        let key = |routing_key, properties| {
            IncomingRequest { routing_key, ..fresh(properties) }.key_of_queue()
        };
        let plain = Properties::default();
        for routing_key in ["request", "request.a", "request.B"] {
            assert_eq!(key(routing_key, &of_type), routing_key);
        }
        assert_eq!(key("processing.requests", &of_type), "request");
        assert_eq!(key("processing.requests.a", &of_type), "request.a");
        for other in ["requests", ""] {
            assert_eq!(
                (key(other, &plain), key(other, &of_type)),
                ("request".into(), "request.b".into())
            );
        }
    }
}
