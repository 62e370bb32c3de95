//! The link to the broker: connections that come back by themselves (one to publish on, one to
//! consume on, and one for each consumer that is to be apart), a publisher whose every message ends
//! in a typed outcome, and consumers that are never alive but deaf. Beside these, for what programs
//! may also miss: an event_publisher and a listener.
//!
//! This is the only place that names the AMQP client (amqprs). The client is a framing engine: it
//! doesn't reconnect, bounds nothing, and a few of its calls must not be cancelled. What that asks
//! for is written down where it is done: `session` for one connection's life, `link` for the
//! sequence of them, `publisher` and `consumer` for what runs on top.

pub(crate) mod address;
pub(crate) mod broadcast;
pub(crate) mod channel_backoff;
pub(crate) mod connection;
pub(crate) mod consumer;
pub(crate) mod declare;
pub(crate) mod error;
pub(crate) mod link;
pub(crate) mod lock;
pub(crate) mod publisher;
pub(crate) mod session;
pub(crate) mod subscribe_gate;
pub(crate) mod unreadable;
pub(crate) mod wire;

pub use crate::broker::address::Address;
pub use crate::broker::broadcast::{Broadcast, BroadcastConsumer};
pub use crate::broker::connection::{Broker, BrokerOptions, DedicatedConnection};
pub use crate::broker::consumer::{Consumer, delivery::Delivery, options::Consume};
pub use crate::broker::declare::Declarer;
pub use crate::broker::error::{AskError, OpenError, PublishError};
pub use crate::broker::lock::{Lock, LockState};
pub use crate::broker::publisher::{Publisher, event_publisher::EventPublisher};
