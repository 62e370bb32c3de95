//! Hearing what is said to every program at once.

use tokio::sync::watch;
use tracing::debug;

use crate::broker::{
    consumer::{
        Consumer,
        delivery::Delivery,
        options::{ConsumerOptions, Source},
    },
    link::Link,
};
use crate::{
    contract::{control::Control, events::Event, malformed::Malformed},
    topology,
};

/// How many messages may be on their way to us.
const PREFETCH: u16 = 250;

/// What a listener hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Broadcast {
    /// From here on everything is heard. It comes at the beginning, and again whenever the listener
    /// was away: what was said before may have been missed.
    Subscribed,
    /// A wish to all programs.
    Control(Control),
    /// Something happened to a request.
    Event(Event),
}

/// Hears control messages, and events if asked to, on a queue of its own. After a loss it comes
/// back by itself, on a new queue.
pub struct BroadcastConsumer {
    consumer: Consumer,
    subscribed: watch::Receiver<bool>,
}

impl BroadcastConsumer {
    pub(super) fn start(link: Link, events: bool) -> Self {
        let source = Source::Own { events };
        let options = ConsumerOptions {
            source,
            prefetch: PREFETCH,
            worker: "listener".to_owned(),
            lock: None,
            paused: None,
        };
        let (consumer, subscribed) = Consumer::start(link, options);
        Self { consumer, subscribed }
    }

    /// The next thing heard. `None` once the broker's link was closed. What nobody can read is
    /// passed over. Nothing is lost when the wait is given up.
    pub async fn next(&mut self) -> Option<Broadcast> {
        loop {
            tokio::select! {
                // A subscription is told of before anything that came by it.
                biased;
                changed = self.subscribed.changed() => {
                    changed.ok()?;
                    if *self.subscribed.borrow_and_update() {
                        return Some(Broadcast::Subscribed);
                    }
                }
                delivery = self.consumer.next() => {
                    if let Some(heard) = heard(delivery?) {
                        return Some(heard);
                    }
                }
            }
        }
    }

    /// Stops listening, within a second.
    pub async fn close(self) {
        self.consumer.close().await;
    }
}

/// Whether the queue had this for us makes no difference to anybody: it is settled before it is
/// looked at, so that the broker always has a few on their way.
fn heard(delivery: Delivery) -> Option<Broadcast> {
    let read = read(&delivery);
    let (exchange, key) = (delivery.exchange.clone(), delivery.routing_key.clone());
    delivery.ack();
    read.unwrap_or_else(|malformed| {
        debug!(exchange, key, reason = malformed.reason, "heard what can't be read");
        None
    })
}

fn read(delivery: &Delivery) -> Result<Option<Broadcast>, Malformed> {
    let (key, body) = (&delivery.routing_key, &delivery.body);
    Ok(match delivery.exchange.as_str() {
        topology::CONTROL => Control::parse(body)?.map(Broadcast::Control),
        topology::EVENTS => Event::parse(key, body)?.map(Broadcast::Event),
        _ => None,
    })
}
