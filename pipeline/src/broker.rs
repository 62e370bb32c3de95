//! The link to the broker: connections that come back by themselves (one to publish on, one to
//! consume on, and one for each consumer that is to be apart), a publisher whose every message ends
//! in a typed outcome, and consumers that are never alive but deaf. Beside these, for what programs
//! may also miss: an event_publisher and a listener.
//!
//! This is the only place that names the AMQP client (amqprs). The client is a framing engine: it
//! doesn't reconnect, bounds nothing, and a few of its calls must not be cancelled. What that asks
//! for is written down where it is done: `session` for one connection's life, `link` for the
//! sequence of them, `publisher` and `consumer` for what runs on top.

mod address;
mod broadcast;
mod channel_backoff;
mod connection;
mod consumer;
mod declare;
mod error;
mod link;
mod lock;
mod publisher;
mod session;
mod wire;

pub use address::Address;
pub use broadcast::{Broadcast, BroadcastConsumer};
pub use connection::{Broker, BrokerOptions, DedicatedConnection};
pub use consumer::{Consume, Consumer, Delivery};
pub use declare::Declarer;
pub use error::{AskError, OpenError, PublishError};
pub use lock::{Lock, LockState};
pub use publisher::{EventPublisher, Publisher};
