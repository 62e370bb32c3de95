//! Copies of a delivered request that wait in a queue with a delay: handed back later, postponed, the last wait, and the next
//! attempt.

use std::time::{Duration, SystemTime};

use pipeline::{
    contract::{Message, headers},
    topology,
};

use crate::decisions::incoming::IncomingRequest;

/// The headers that the next attempt does not inherit.
const OF_ONE_ATTEMPT: [&str; 8] = [
    headers::DELIVERIES,
    headers::SURVIVED,
    headers::WAITED,
    headers::UNHEARD,
    headers::BROKER_START,
    headers::EXPIRES_AT,
    headers::NOT_BEFORE,
    headers::WAIT,
];

impl IncomingRequest<'_> {
    /// The copy that hands a request that has not started to another worker, through the queue with this delay.
    pub(crate) fn hand_back_later_copy(
        &self,
        mine: i64,
        delay: Duration,
        now: SystemTime,
    ) -> Message {
        into_waiting_queue(self.hand_back_copy(mine, false, now), delay)
    }

    /// The copy that goes through a waiting queue once more, as the same attempt and delivery.
    pub(crate) fn postponed_copy(
        &self,
        left: Duration,
        delay: Duration,
        now: SystemTime,
    ) -> Message {
        let mut copy = self.counted_copy(now);
        set_wait(&mut copy, left.saturating_sub(delay));
        into_waiting_queue(copy, delay)
    }

    /// The copy that waits so long with the broker, first in the queue with this delay, before all are asked for the last
    /// time.
    pub(crate) fn last_wait_copy(
        &self,
        wait: Duration,
        delay: Duration,
        now: SystemTime,
    ) -> Message {
        let mut copy = self.counted_copy(now);
        let headers = &mut copy.properties.headers;
        headers.set(headers::WAITED, self.earlier_deliveries());
        headers.set(headers::NOT_BEFORE, headers::moment(now + wait));
        set_wait(&mut copy, wait.saturating_sub(delay));
        into_waiting_queue(copy, delay)
    }

    /// The same once more, since no answer could be heard.
    pub(crate) fn unheard_copy(&self, wait: Duration, delay: Duration, now: SystemTime) -> Message {
        let mut copy = self.last_wait_copy(wait, delay, now);
        copy.properties.headers.set(headers::UNHEARD, self.times_unheard() + 1);
        copy
    }

    /// The message of the next attempt, which starts after this delay, or after the longer wait that is `wanted`.
    pub(crate) fn next_attempt(
        &self,
        delay: Duration,
        wanted: Duration,
        now: SystemTime,
    ) -> Message {
        let mut copy = self.copy();
        let headers = &mut copy.properties.headers;
        // The request was started, so it cannot expire any more.
        for of_this_attempt in OF_ONE_ATTEMPT {
            headers.remove(of_this_attempt);
        }
        headers.set(headers::ATTEMPT, self.attempt().saturating_add(1));
        if wanted > delay {
            headers.set(headers::NOT_BEFORE, headers::moment(now + wanted));
            set_wait(&mut copy, wanted - delay);
        }
        into_waiting_queue(copy, delay)
    }

    /// The copy to publish instead of one that its queue has refused, as a full queue does: the same through the queue with
    /// this delay, from where the broker delivers it once there is room. Classic queues do not wait for room, so what may
    /// come from one keeps its copy.
    pub(crate) fn instead_of_refused(&self, refused: Message, delay: Duration) -> Message {
        match self.was_delivered() && refused.exchange == topology::EXCHANGE {
            true => into_waiting_queue(refused, delay),
            false => refused,
        }
    }
}

fn set_wait(copy: &mut Message, left: Duration) {
    let millis = i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
    copy.properties.headers.set(headers::WAIT, millis);
}

/// Directs a message into the queue where messages wait this long. The queue sets the time to live.
fn into_waiting_queue(mut message: Message, delay: Duration) -> Message {
    message.exchange = topology::retry(delay).into();
    message.properties.expiration = None;
    message
}

#[cfg(test)]
mod tests {
    use pipeline::contract::Properties;

    use super::*;
    use crate::decisions::samples::{AT, SECOND, fresh, number, properties, request};

    #[test]
    fn the_next_attempt_resets_the_deliveries_and_keeps_key_and_trace() {
        let mut properties = properties(&[
            (headers::ATTEMPT, 2.into()),
            (headers::RUN, 1.into()),
            (headers::DELIVERIES, 3.into()),
            (headers::SURVIVED, 1.into()),
            (headers::BROKER_START, "a".into()),
            (headers::EXPIRES_AT, headers::moment(AT + SECOND).into()),
            (headers::STARTED_AT, headers::moment(AT).into()),
            (headers::TRACEPARENT, "00-1".into()),
        ]);
        properties.message_id = Some("me".into());
        properties.expiration = Some(SECOND);
        let next = request(&properties).next_attempt(10 * SECOND, 60 * SECOND, AT);
        assert_eq!(
            (&*next.exchange, &*next.routing_key),
            ("processing.retry.10000", "request.big")
        );
        assert_eq!((next.properties.expiration, next.properties.persistent), (None, true));
        assert_eq!(next.properties.message_id.as_deref(), Some("me"));
        let names: Vec<_> = next.properties.headers.iter().map(|(name, _)| name).collect();
        let [attempt, not_before] = [headers::ATTEMPT, headers::NOT_BEFORE];
        let expected = [attempt, not_before, headers::RUN, headers::WAIT, headers::TRACEPARENT];
        assert_eq!(names, expected);
        assert_eq!(number(&next, attempt), Some(3));
        let again = fresh(&next.properties);
        let left = again.time_until_not_before(AT + 10 * SECOND);
        assert_eq!((again.deliveries(), left), (1, Some(50 * SECOND)));
        assert_eq!(again.time_until_not_before(AT + 60 * SECOND), None);
    }

    #[test]
    fn a_postponed_or_handed_back_copy_is_the_same_attempt_and_delivery() {
        let counted = properties(&[
            (headers::ATTEMPT, 2.into()),
            (headers::DELIVERIES, 2.into()),
            (headers::EXPIRES_AT, headers::moment(AT + 5 * SECOND).into()),
        ]);
        let off = fresh(&counted).postponed_copy(SECOND, SECOND, AT);
        let back = fresh(&counted).hand_back_copy(0, false, AT);
        assert_eq!((&*off.exchange, &*back.exchange), ("processing.retry.1000", "processing"));
        let later = fresh(&counted).hand_back_later_copy(0, SECOND, AT);
        assert_eq!(later.exchange, off.exchange);
        let expirations = (off.properties.expiration, back.properties.expiration);
        assert_eq!(expirations, (None, Some(5 * SECOND)));
        for copy in [off, back, later] {
            let copy = fresh(&copy.properties);
            assert_eq!((copy.attempt(), copy.deliveries()), (2, 3));
        }
    }

    #[test]
    fn a_counted_copy_that_a_full_queue_refuses_waits_elsewhere_unless_the_queue_may_be_classic() {
        let exchange = |request: IncomingRequest<'_>| {
            let copy = request.instead_of_refused(request.counted_copy(AT), SECOND);
            assert_eq!(number(&copy, headers::DELIVERIES), Some(request.earlier_deliveries()));
            copy.exchange.into_owned()
        };
        let counted = properties(&[(headers::DELIVERY_COUNT, 3.into())]);
        assert_eq!(exchange(request(&counted)), "processing.retry.1000");
        assert_eq!(exchange(request(&Properties::default())), "processing");
        assert_eq!(exchange(fresh(&counted)), "processing");
        let postponed = request(&counted).postponed_copy(SECOND, 10 * SECOND, AT);
        let again = request(&counted).instead_of_refused(postponed, SECOND);
        assert_eq!(&*again.exchange, "processing.retry.10000");
    }

    #[test]
    fn a_host_whose_clock_is_behind_does_not_send_a_request_to_wait_for_ever() {
        let mut properties = Properties::default();
        properties = fresh(&properties).next_attempt(10 * SECOND, 25 * SECOND, AT).properties;
        let (two_hours_before, mut passes) = (AT - 7200 * SECOND, 0);
        while let Some(left) = fresh(&properties).time_until_not_before(two_hours_before) {
            passes += 1;
            let postponed = fresh(&properties).postponed_copy(left, 10 * SECOND, two_hours_before);
            properties = postponed.properties;
        }
        assert_eq!(passes, 2);
    }
}
