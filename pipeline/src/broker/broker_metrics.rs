//! Broker metrics: what is counted of connections, publishes and deliveries.

use std::{collections::HashMap, sync::Arc};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tokio::time::Instant;

use crate::{
    broker::error::PublishError,
    metrics::{Buckets, Label, label, set},
};

/// The outcomes of a publish.
const OUTCOMES: [&str; 7] =
    [CONFIRMED, "nacked", "refused", "unroutable", "not_sent", "unknown", "invalid"];
const CONFIRMED: &str = "confirmed";

/// What is counted of a program's connections. Clones are the same counters.
#[derive(Debug, Clone)]
pub(crate) struct BrokerMetrics(Arc<Metrics>);

#[derive(Debug)]
struct Metrics {
    published: Family<Label, Counter>,
    /// The counters of `published`. Looking them up there for each message would cost a lock.
    outcomes: HashMap<&'static str, Counter>,
    confirm_duration: Histogram,
    unconfirmed: Gauge,
    blocked: Gauge,
    events_dropped: Counter,
    up: Family<Label, Gauge>,
    reconnects: Family<Label, Counter>,
    consumer_up: Family<Label, Gauge>,
    deliveries: Family<[(&'static str, String); 2], Counter>,
    settlements: Family<[(&'static str, String); 2], Counter>,
}

/// What is counted of the deliveries from one queue.
#[derive(Debug, Clone)]
pub(crate) struct DeliveryCounters {
    first: Counter,
    redelivered: Counter,
    acked: Counter,
    requeued: Counter,
}

/// A publish that is counted as unconfirmed until this is dropped.
pub(crate) struct UnconfirmedCount(Gauge);

impl Default for BrokerMetrics {
    fn default() -> Self {
        use prometheus_client::metrics::family::MetricConstructor;
        let published = Family::<Label, Counter>::default();
        let counter =
            |outcome| (outcome, published.get_or_create_owned(&label("outcome", outcome)));
        let outcomes = OUTCOMES.into_iter().map(counter).collect();
        Self(Arc::new(Metrics {
            published,
            outcomes,
            confirm_duration: Buckets::Waits.new_metric(),
            unconfirmed: Gauge::default(),
            blocked: Gauge::default(),
            events_dropped: Counter::default(),
            up: Family::default(),
            reconnects: Family::default(),
            consumer_up: Family::default(),
            deliveries: Family::default(),
            settlements: Family::default(),
        }))
    }
}

impl BrokerMetrics {
    /// Adds all of these to a registry.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let Metrics {
            published,
            outcomes: _,
            confirm_duration,
            unconfirmed,
            blocked,
            events_dropped,
            up,
            reconnects,
            consumer_up,
            deliveries,
            settlements,
        } = &*self.0;
        let help = "Messages that were published with confirms, by what became of them";
        registry.register("publishes", help, published.clone());
        let help = "From the publish to the confirm of messages that were confirmed";
        registry.register("publish_confirm_duration_seconds", help, confirm_duration.clone());
        let help = "Messages that wait for their confirm";
        registry.register("publishes_unconfirmed", help, unconfirmed.clone());
        let help = "1 while the broker confirms nothing, as under a memory or disk alarm";
        registry.register("publisher_blocked", help, blocked.clone());
        let help = "Events and control messages that could not be published";
        registry.register("events_dropped", help, events_dropped.clone());
        let help = "1 while the connection of this role is open and the topology is complete";
        registry.register("broker_up", help, up.clone());
        let help = "Connections that were opened after the first one of their role";
        registry.register("reconnects", help, reconnects.clone());
        let help = "1 while all consumers of the queue are subscribed, or will be once their job in hand has ended";
        registry.register("consumer_up", help, consumer_up.clone());
        let help = "Messages that the broker delivered";
        registry.register("deliveries", help, deliveries.clone());
        let help = "Deliveries that were acked or requeued";
        registry.register("settlements", help, settlements.clone());
    }

    /// Counts a message that was published at `began`, by its outcome: when it was confirmed, or why not.
    pub(crate) fn published(&self, outcome: &Result<Instant, PublishError>, began: Instant) {
        let outcome = match outcome {
            Ok(confirmed) => {
                self.0.confirm_duration.observe((*confirmed - began).as_secs_f64());
                CONFIRMED
            }
            Err(PublishError::Nacked) => "nacked",
            Err(PublishError::Refused(_)) => "refused",
            Err(PublishError::Unroutable(_)) => "unroutable",
            Err(PublishError::NotSent(_) | PublishError::Overloaded) => "not_sent",
            Err(PublishError::Unknown(_)) => "unknown",
            Err(PublishError::Invalid(_) | PublishError::TooLarge { .. }) => "invalid",
        };
        if let Some(counter) = self.0.outcomes.get(outcome) {
            counter.inc();
        }
    }

    /// Counts a message as unconfirmed until the guard is dropped.
    pub(crate) fn unconfirmed(&self) -> UnconfirmedCount {
        self.0.unconfirmed.inc();
        UnconfirmedCount(self.0.unconfirmed.clone())
    }

    /// The counter of events that were dropped.
    pub(crate) fn events_dropped(&self) -> &Counter {
        &self.0.events_dropped
    }

    /// The counter of connections of this role that were opened again.
    pub(crate) fn reconnects(&self, role: &str) -> Counter {
        self.0.reconnects.get_or_create_owned(&label("role", role))
    }

    /// The counters of deliveries from a queue.
    pub(crate) fn deliveries(&self, queue: &str) -> DeliveryCounters {
        let Metrics { deliveries, settlements, .. } = &*self.0;
        let queue = ("queue", queue.to_owned());
        let delivery = |redelivered: bool| {
            deliveries
                .get_or_create_owned(&[queue.clone(), ("redelivered", redelivered.to_string())])
        };
        let settlement =
            |how: &str| settlements.get_or_create_owned(&[queue.clone(), ("how", how.to_owned())]);
        DeliveryCounters {
            first: delivery(false),
            redelivered: delivery(true),
            acked: settlement("ack"),
            requeued: settlement("requeue"),
        }
    }

    /// Sets what is read when the metrics are asked for.
    pub(crate) fn set_up(&self, role: &str, is_up: bool) {
        self.0.up.get_or_create(&label("role", role)).set(i64::from(is_up));
    }

    /// The same, of the consumers of a queue.
    pub(crate) fn set_consumer_up(&self, queue: &str, is_up: bool) {
        self.0.consumer_up.get_or_create(&label("queue", queue)).set(i64::from(is_up));
    }

    /// The same, of the publisher.
    pub(crate) fn set_blocked(&self, is_blocked: bool) {
        set(&self.0.blocked, usize::from(is_blocked));
    }
}

impl DeliveryCounters {
    /// Counts a delivery.
    pub(crate) fn delivered(&self, redelivered: bool) {
        if redelivered {
            self.redelivered.inc()
        } else {
            self.first.inc()
        };
    }

    /// Counts an ack.
    pub(crate) fn acked(&self) {
        self.acked.inc();
    }

    /// Counts a requeue.
    pub(crate) fn requeued(&self) {
        self.requeued.inc();
    }
}

impl Drop for UnconfirmedCount {
    fn drop(&mut self) {
        self.0.dec();
    }
}
