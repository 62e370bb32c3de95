//! The broker: connections that reconnect (one to publish, one to consume, dedicated ones), a publisher
//! that waits for confirms, consumers that subscribe again after each loss, and locks. Events and
//! control messages, which may be lost, have a publisher and a consumer of their own.
//!
//! Only this module uses the AMQP client (amqprs). The client doesn't reconnect, has no bounds, and a
//! few of its calls must not be cancelled: `session` deals with that for one connection, `link` opens
//! one session after another, and `publisher` and `consumer` run on these.

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

pub use crate::broker::address::{Address, InvalidAddress};
pub use crate::broker::broadcast::{Broadcast, BroadcastConsumer};
pub use crate::broker::connection::{Broker, BrokerOptions, DedicatedConnection};
pub use crate::broker::consumer::{Consumer, delivery::Delivery, options::Consume};
pub use crate::broker::declare::Declarer;
pub use crate::broker::error::{AskError, OpenError, PublishError};
pub use crate::broker::lock::{Lock, LockState};
pub use crate::broker::publisher::{Publisher, event_publisher::EventPublisher};
