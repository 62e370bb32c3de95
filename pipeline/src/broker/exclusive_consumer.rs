//! Exclusive consumer: receives what all running processes receive, on an exclusive queue of this process.

use tokio::sync::watch;

use crate::broker::{
    consumer::{
        Consumer,
        delivery::Delivery,
        options::{ConsumerOptions, Source},
    },
    link::Link,
};
use crate::topology::exclusive_queue::ExclusiveQueue;

/// How many messages the broker sends ahead.
const PREFETCH: u16 = 250;

/// What an exclusive consumer receives.
pub enum Received {
    /// The consumer has subscribed: from here on it receives everything. This comes first, and again
    /// after each lost subscription, when messages may have been missed.
    Subscribed,
    /// A message.
    Delivery(Box<Delivery>),
}

/// Receives messages on an exclusive queue. After a loss it subscribes again, with a new queue.
pub struct ExclusiveConsumer {
    consumer: Consumer,
    subscribed: watch::Receiver<bool>,
}

impl ExclusiveConsumer {
    /// Begins to consume and returns at once. `worker` names the consumer in the log.
    pub(super) fn start(link: Link, queue: ExclusiveQueue, worker: &str) -> Self {
        let options = ConsumerOptions {
            source: Source::Exclusive(queue),
            prefetch: PREFETCH,
            worker: worker.to_owned(),
            lock: None,
            paused: None,
            one_by_one: None,
            gathers_acks: false,
        };
        let (consumer, subscribed) = Consumer::start(link, options);
        Self { consumer, subscribed }
    }

    /// The next message or [`Received::Subscribed`]. `None` once the connection was closed. Cancel safe.
    pub async fn next(&mut self) -> Option<Received> {
        loop {
            tokio::select! {
                // `Subscribed` comes before the messages of that subscription.
                biased;
                changed = self.subscribed.changed() => {
                    changed.ok()?;
                    if *self.subscribed.borrow_and_update() {
                        return Some(Received::Subscribed);
                    }
                }
                delivery = self.consumer.next() => {
                    return delivery.map(|delivery| Received::Delivery(Box::new(delivery)));
                }
            }
        }
    }

    /// Stops consuming, within a second.
    pub async fn close(self) {
        self.consumer.close().await;
    }
}
