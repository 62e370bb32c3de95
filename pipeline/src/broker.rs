//! The broker: connections that reconnect (one to publish, one to consume, dedicated ones), a publisher
//! that waits for confirms, consumers that subscribe again after each loss, and locks. Events and
//! control messages, which may be lost, have a publisher and a consumer of their own.
//!
//! Only this module uses the AMQP client (amqprs). The client doesn't reconnect, has no bounds, and a
//! few of its calls must not be cancelled: `session` deals with that for one connection, `link` opens
//! one session after another, and `publisher` and `consumer` run on these.
//!
//! # How to build another system on this layer
//!
//! A program lists what it publishes to and consumes, connects, and begins. [`Broker::connect`] returns at
//! once; the broker may be away then and at any later time.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use pipeline::{broker::{Broker, BrokerOptions, Consume, Address}, contract::Message, shutdown::Shutdown, topology::*};
//! # use tokio::time::Instant;
//! # #[derive(serde::Serialize)] struct Order { number: u32 }
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let orders = Exchange::new("shop.orders", ExchangeKind::Topic);
//! let billing = Queue::new("billing", QueueType::Quorum).bound_to("shop.orders", "order.*.paid");
//! let broker = Broker::connect(&BrokerOptions {
//!     program: "billing",
//!     addresses: vec![Address::parse("amqps://user:password@broker.example/shop")?],
//!     topology: Topology::of_program([orders], [billing]),
//! });
//! let shutdown = Shutdown::on_signals()?;
//!
//! let paid = Message::json("shop.orders", "order.7.paid", &Order { number: 7 }).with_type("paid");
//! broker.publisher().publish(paid, Instant::now() + Duration::from_secs(5)).await?;
//!
//! let mut consumer = broker.consume(Consume::queue("billing", 10, "billing"));
//! while let Some(Some(delivery)) = shutdown.drain.run_until_cancelled(consumer.next()).await {
//!     // Commit what follows from the message, then ack it: it may come twice, and is never lost.
//!     delivery.ack();
//! }
//! consumer.close().await;
//! broker.close(Duration::from_secs(3)).await;
//! # Ok(()) }
//! ```
//!
//! - **Exchanges and queues** are checked at each connect and declared if they are missing; the bindings of
//!   [`Topology::of_program`](crate::topology::Topology::of_program) are made each time. So both sides of
//!   an exchange list it, each consumer lists its queue, and the programs start in any order. A queue
//!   without bindings is reached through the default exchange. An object that exists with another kind
//!   or other arguments is used as it is.
//! - **A message that has to arrive** goes through [`Publisher::publish`]. It returns once the broker has
//!   the message in a queue, or an error that tells whether trying again may make a copy; while no queue is
//!   bound, that is [`PublishError::Unroutable`]. A program that must not lose a message when it dies commits
//!   it to a table with the data that it is about (an outbox), publishes it from there, with pauses between
//!   failed attempts, and deletes it after the confirm.
//! - **A message that must not delay its sender** goes through [`BackgroundPublisher::try_publish`]. It waits
//!   in memory while the broker is away; the number of those that wait is bounded.
//! - **A message to whoever is there** goes through [`Publisher::publish_to_subscribers`], with a confirm, or
//!   [`EventPublisher::try_publish`], without. Each running process receives it through
//!   [`Broker::consume_exclusively`]. [`Received::Subscribed`] says that messages may have been missed before:
//!   read again what they are about.
//! - **Consumers** receive a message again after a crash, a lost connection, or [`Delivery::requeue`]. Commit
//!   before [`Delivery::ack`], and recognise a repeated message by its `message_id`, unless applying it twice
//!   changes nothing. Ack a message that will never succeed. A queue whose messages must survive any number of
//!   crashes is declared with [`Queue::without_delivery_limit`](crate::topology::Queue::without_delivery_limit).
//! - **Readiness**: [`Broker::health`] gives the parts of a [`Readiness`](crate::health::Readiness).
//! - **Metrics**: [`Broker::register_metrics`] adds them to a registry.
//! - **The end**: close the consumers, then the broker with [`Broker::close`], which waits for confirms.

pub(crate) mod address;
pub(crate) mod broadcast;
pub(crate) mod broker_metrics;
pub(crate) mod broker_start;
pub(crate) mod channel_backoff;
pub(crate) mod connection;
pub(crate) mod consumer;
pub(crate) mod declare;
pub(crate) mod error;
pub(crate) mod exclusive_consumer;
pub(crate) mod link;
pub(crate) mod lock;
pub(crate) mod publisher;
pub(crate) mod queue_watch;
pub(crate) mod session;
pub(crate) mod subscribe_gate;
pub(crate) mod wire;

pub use crate::broker::address::{Address, InvalidAddress};
pub use crate::broker::broadcast::{Broadcast, BroadcastConsumer};
pub use crate::broker::broker_start::BrokerStart;
pub use crate::broker::connection::{Broker, BrokerOptions, DedicatedConnection};
pub use crate::broker::consumer::{
    Consumer,
    delivery::{Delivery, DeliveryWatch, Settlement, SharedDelivery},
    options::Consume,
};
pub use crate::broker::declare::Declarer;
pub use crate::broker::error::{AskError, NotConnected, OpenError, PublishError};
pub use crate::broker::exclusive_consumer::{ExclusiveConsumer, Received};
pub use crate::broker::lock::{Lock, LockState};
pub use crate::broker::publisher::{
    Confirmed, Publisher, background_publisher::BackgroundPublisher,
    event_publisher::EventPublisher,
};
pub use crate::broker::queue_watch::{CountedQueues, NotCounted};
pub use crate::broker::session::Tuning;
