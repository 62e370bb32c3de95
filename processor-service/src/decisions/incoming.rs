//! A delivered request: what its message says of its attempt, the deliveries before, and its times.

use std::time::{Duration, SystemTime};

use pipeline::{
    broker::Delivery,
    contract::{Execution, Properties, RequestId, TraceParent, headers},
    topology::RequestType,
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

    /// The type of the request, by the queue that its routing key leads to. A message that was published to the queue by
    /// its name, through the default exchange, has that name as its key.
    pub(super) fn request_type(&self) -> Option<RequestType> {
        let by_name = || RequestType::of_queue(self.routing_key);
        let by_key = RequestType::of_routing_key(self.routing_key).or_else(by_name);
        by_key.or_else(|| self.properties.headers.request_type())
    }

    /// Which run this is, from 0.
    pub(crate) fn run(&self) -> i64 {
        self.number(headers::RUN)
    }

    /// The trace that the request belongs to, if the message has a well-formed one.
    pub(crate) fn trace(&self) -> Option<TraceParent> {
        TraceParent::parse(self.properties.headers.text(headers::TRACEPARENT)?)
    }

    /// What processes mean by this attempt when they ask each other who had it.
    pub(crate) fn execution(&self, id: &RequestId) -> Execution {
        let (request_id, survived) = (id.clone(), self.survived());
        Execution { request_id, run: self.run(), attempt: self.attempt(), survived }
    }

    /// Which delivery of this attempt this is, from 1.
    pub(crate) fn deliveries(&self) -> i64 {
        self.earlier_deliveries() + 1
    }

    /// How many deliveries ended before this one: those that were counted by publishing the message again, and the
    /// last one, which `redelivered` tells of. That flag is exact on quorum queues. The broker's own counts are not:
    /// after a crash they rise by one for each idle consumer.
    pub(super) fn earlier_deliveries(&self) -> i64 {
        let counted = self.number(headers::DELIVERIES);
        match self.redelivered {
            false => counted,
            // The first redelivery is not always published again.
            true if self.may_be_second_redelivery() => 2,
            true => counted + 1,
        }
    }

    /// How many of the earlier deliveries did not end with a death of their worker.
    pub(crate) fn survived(&self) -> i64 {
        self.number(headers::SURVIVED).min(self.number(headers::DELIVERIES))
    }

    /// How many earlier deliveries may have ended with a death of their worker.
    pub(crate) fn suspected_deaths(&self) -> i64 {
        (self.earlier_deliveries() - self.survived()).max(0)
    }

    /// Whether the request has waited for the last answers, and was not delivered to anybody else since.
    pub(crate) fn has_waited(&self) -> bool {
        self.properties.headers.number(headers::WAITED) == Some(self.earlier_deliveries())
    }

    /// How often it has waited again because no answer could be heard.
    pub(crate) fn times_unheard(&self) -> i64 {
        self.number(headers::UNHEARD)
    }

    /// How many answers at least it takes to know that no worker died.
    pub(crate) fn answers_needed(&self) -> i64 {
        if self.may_be_second_redelivery() { 1 } else { self.suspected_deaths() }
    }

    /// Whether this may be the first or the second redelivery: it was not counted yet, and the broker's count, which
    /// other things raise too, is above 1.
    pub(crate) fn may_be_second_redelivery(&self) -> bool {
        self.redelivered && self.number(headers::DELIVERIES) == 0 && self.broker_count() > 1
    }

    /// Whether this is the first redelivery, and the broker says so: if there is another one, its count will tell.
    pub(crate) fn is_first_redelivery(&self) -> bool {
        self.redelivered && self.number(headers::DELIVERIES) == 0 && self.broker_count() == 1
    }

    /// Whether this is a redelivery from a queue that does not count. After a crash of the broker, such queues
    /// deliver messages as redelivered that nobody ever had.
    pub(crate) fn is_uncounted_redelivery(&self) -> bool {
        let counts = |name| self.properties.headers.has(name);
        self.redelivered && !counts(headers::DELIVERY_COUNT) && !counts(headers::ACQUIRED_COUNT)
    }

    /// Whether the message says in which start of the broker it was published.
    pub(crate) fn names_broker_start(&self) -> bool {
        self.properties.headers.has(headers::BROKER_START)
    }

    /// Whether the message was published in another start of the broker than this one, as far as it says.
    pub(crate) fn is_from_another_start(&self, broker_start: Option<&str>) -> bool {
        let of_message = self.properties.headers.text(headers::BROKER_START);
        of_message.zip(broker_start).is_some_and(|(then, now)| then != now)
    }

    fn broker_count(&self) -> i64 {
        self.number(headers::DELIVERY_COUNT).max(self.number(headers::ACQUIRED_COUNT))
    }

    /// Whether a worker has certainly had the request.
    pub(super) fn was_delivered(&self) -> bool {
        self.redelivered && !self.is_uncounted_redelivery()
    }

    /// When the request expired, if it has expired by now. One that a worker had before can't expire any more. Of one with
    /// a time to live in the queue, the broker's clock has decided: this host's may differ.
    pub(crate) fn expired_at(&self, now: SystemTime) -> Option<String> {
        if self.was_delivered() || self.properties.expiration.is_some() {
            return None;
        }
        let at = headers::time(&self.properties.headers, headers::EXPIRES_AT)?;
        (at <= now).then(|| headers::moment(at))
    }

    /// How long the request must still wait, if it must: by its time, but no longer than was left when it was sent to wait.
    pub(crate) fn time_until_not_before(&self, now: SystemTime) -> Option<Duration> {
        let at = headers::time(&self.properties.headers, headers::NOT_BEFORE)?;
        let left = at.duration_since(now).ok().filter(|left| !left.is_zero())?;
        let most = self
            .properties
            .headers
            .number(headers::WAIT)
            .map(|most| Duration::from_millis(u64::try_from(most).unwrap_or(0)));
        Some(most.map_or(left, |most| left.min(most))).filter(|left| !left.is_zero())
    }

    /// A number in a header; 0 if there is none.
    pub(super) fn number(&self, name: &str) -> i64 {
        self.properties.headers.number(name).unwrap_or(0).clamp(0, i64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decisions::samples::{AT, SECOND, fresh, properties, request};

    #[test]
    fn the_broker_counts_hand_overs_to_idle_consumers_so_its_count_is_not_believed() {
        let after_a_crash = properties(&[(headers::DELIVERY_COUNT, 61.into())]);
        assert_eq!(fresh(&after_a_crash).suspected_deaths(), 0, "nobody had it");
        let again = request(&after_a_crash);
        assert_eq!((again.suspected_deaths(), again.answers_needed()), (2, 1));
        let counted =
            properties(&[(headers::DELIVERY_COUNT, 61.into()), (headers::DELIVERIES, "3".into())]);
        assert_eq!(request(&counted).suspected_deaths(), 4);
    }

    #[test]
    fn nothing_survives_that_was_not_delivered() {
        let absurd = properties(&[(headers::SURVIVED, 1_000_000.into())]);
        assert_eq!((fresh(&absurd).survived(), request(&absurd).suspected_deaths()), (0, 1));
    }

    #[test]
    fn a_request_expires_at_its_time_and_not_before() {
        let expires = properties(&[(headers::EXPIRES_AT, headers::moment(AT + SECOND).into())]);
        assert!(fresh(&expires).expired_at(AT + SECOND).is_some());
        assert_eq!(fresh(&expires).expired_at(AT), None);
        let unreadable = properties(&[(headers::EXPIRES_AT, "soon".into())]);
        assert_eq!(request(&unreadable).expired_at(AT), None);
    }
}
