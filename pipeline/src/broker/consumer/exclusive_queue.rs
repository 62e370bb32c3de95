//! Exclusive queue of one subscription: the broker deletes it with the connection.

use std::time::Duration;

use amqprs::{
    channel::{Channel, QueueBindArguments, QueueDeclareArguments},
    error::Error,
};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::broker::wire;
use crate::topology::{exclusive_queue::ExclusiveQueue, objects::Binding};

/// How often the queue is bound again. The broker doesn't report the deletion of an exchange, which
/// deletes its bindings.
const BIND_INTERVAL: Duration = Duration::from_secs(30);

/// A declared queue.
pub(super) struct DeclaredQueue {
    pub(super) name: String,
    bindings: Vec<Binding>,
}

/// Declares the queue under a new name and binds it.
pub(super) async fn declare(
    channel: &Channel,
    queue: &ExclusiveQueue,
) -> Result<DeclaredQueue, Error> {
    let own = DeclaredQueue { name: queue.new_name(), bindings: queue.bindings.clone() };
    let mut declare = QueueDeclareArguments::new(&own.name);
    declare.exclusive(true).auto_delete(true);
    declare.arguments(wire::arguments_to_wire(&ExclusiveQueue::arguments()));
    channel.queue_declare(declare).await?;
    bind(channel, &own).await?;
    Ok(own)
}

/// Ticks when the queue should be bound again.
pub(super) fn bind_again_ticks() -> Interval {
    let mut ticks = interval_at(Instant::now() + BIND_INTERVAL, BIND_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Binds the queue. Existing bindings stay.
pub(super) async fn bind(channel: &Channel, own: &DeclaredQueue) -> Result<(), Error> {
    for Binding { exchange, routing_key } in &own.bindings {
        channel.queue_bind(QueueBindArguments::new(&own.name, exchange, routing_key)).await?;
    }
    Ok(())
}
