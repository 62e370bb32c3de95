//! Broadcast consumer: receives control messages and events on an exclusive queue.

use tracing::{debug, info};

use crate::broker::{
    consumer::delivery::Delivery,
    exclusive_consumer::{ExclusiveConsumer, Received},
    link::Link,
};
use crate::{
    contract::{control::Control, events::Event, malformed::Malformed},
    log_messages::RECEIVING_CONTROL,
    topology::{
        self,
        exclusive_queue::{Events, ExclusiveQueue},
    },
};

/// What a broadcast consumer receives.
#[derive(Debug, Clone, PartialEq)]
pub enum Broadcast {
    /// The consumer has subscribed: from here on it receives everything. This comes first, and again
    /// after each lost subscription, when messages may have been missed.
    Subscribed,
    /// A control message.
    Control(Control),
    /// An event of a request.
    Event(Event),
}

/// Receives control messages, and events that are wanted, on an exclusive queue. After a loss it subscribes
/// again, with a new queue.
pub struct BroadcastConsumer {
    consumer: ExclusiveConsumer,
    events: Events,
}

impl BroadcastConsumer {
    pub(super) fn start(link: Link, events: Events) -> Self {
        let queue = ExclusiveQueue::of_instance(events);
        Self { consumer: ExclusiveConsumer::start(link, queue, "broadcast consumer"), events }
    }

    /// The next message or [`Broadcast::Subscribed`]. `None` once the connection was closed. Malformed
    /// messages are skipped. Cancel safe.
    pub async fn next(&mut self) -> Option<Broadcast> {
        loop {
            match self.consumer.next().await? {
                Received::Subscribed => {
                    info!(events = self.events != Events::None, "{RECEIVING_CONTROL}");
                    return Some(Broadcast::Subscribed);
                }
                Received::Delivery(delivery) => {
                    if let Some(broadcast) = ack_and_parse(*delivery) {
                        return Some(broadcast);
                    }
                }
            }
        }
    }

    /// Stops consuming, within a second.
    pub async fn close(self) {
        self.consumer.close().await;
    }
}

/// Acknowledges before anything is done with the message: losing one is allowed, and the broker can
/// send the next.
fn ack_and_parse(delivery: Delivery) -> Option<Broadcast> {
    let parsed = parse(&delivery);
    let (exchange, key) = (delivery.exchange.clone(), delivery.routing_key.clone());
    delivery.ack();
    parsed.unwrap_or_else(|malformed| {
        debug!(
            exchange,
            key,
            reason = malformed.reason,
            "ignored a malformed control message or event"
        );
        None
    })
}

fn parse(delivery: &Delivery) -> Result<Option<Broadcast>, Malformed> {
    let (key, body) = (&delivery.routing_key, &delivery.body);
    Ok(match delivery.exchange.as_str() {
        topology::CONTROL => Control::parse(body)?.map(Broadcast::Control),
        topology::EVENTS => Event::parse(key, body)?.map(Broadcast::Event),
        _ => None,
    })
}
