//! A queue that belongs to one subscription and goes with it.

use std::time::Duration;

use amqprs::{
    channel::{Channel, QueueBindArguments, QueueDeclareArguments},
    error::Error,
};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::broker::wire;
use crate::topology::instance_queue::InstanceQueue;

/// How often such a queue is bound again. Nobody tells us that an exchange was deleted, and what
/// was bound to it is bound no more.
const BIND_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Declares the queue and binds it.
pub(super) async fn declare(channel: &Channel, own: InstanceQueue) -> Result<InstanceQueue, Error> {
    let mut declare = QueueDeclareArguments::new(&own.name);
    declare.exclusive(true).auto_delete(true);
    declare.arguments(wire::arguments_to_wire(&InstanceQueue::arguments()));
    channel.queue_declare(declare).await?;
    bind(channel, &own).await?;
    Ok(own)
}

/// When such a queue is to be bound again.
pub(super) fn bind_again_ticks() -> Interval {
    let mut ticks = interval_at(Instant::now() + BIND_AGAIN_AFTER, BIND_AGAIN_AFTER);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Binds the queue. Does nothing where it is bound.
pub(super) async fn bind(channel: &Channel, own: &InstanceQueue) -> Result<(), Error> {
    for (exchange, key) in &own.bindings {
        channel.queue_bind(QueueBindArguments::new(&own.name, exchange, key)).await?;
    }
    Ok(())
}
