//! Event publisher: publishes events and control messages without waiting, and drops them if it can't.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::broker::{
    channel_backoff::ChannelBackoff,
    link::Link,
    publisher::{
        open_channel::{Current, keep_open},
        pending_publish::{OutgoingMessage, Routing, pending_publish},
    },
    wire,
};
use crate::contract::message::Message;

/// How many bytes may be unconfirmed.
const MAX_UNCONFIRMED_BYTES: usize = 8 * 1024 * 1024;

/// Publishes events and control messages without waiting. Clones share one channel.
///
/// It has its own channel, so that a refused event doesn't close the channel of the requests. Confirms
/// only count the unconfirmed bytes: while the broker blocks publishers (a memory or disk alarm),
/// events must not fill the connection that requests are published on.
#[derive(Clone)]
pub struct EventPublisher {
    program: &'static str,
    channel: watch::Receiver<Current>,
    bytes: Arc<Semaphore>,
    dropped: Counter,
}

impl EventPublisher {
    /// Begins to publish on the link. After `stop` the task ends when everything is confirmed.
    pub(crate) fn start(link: Link, stop: CancellationToken) -> (Self, JoinHandle<()>) {
        let (sender, channel) = watch::channel(Current::default());
        let (program, dropped) = (link.program(), link.metrics().events_dropped().clone());
        let task = tokio::spawn(keep_open(link, sender, stop, ChannelBackoff::optional()));
        let bytes = Arc::new(Semaphore::new(MAX_UNCONFIRMED_BYTES));
        (Self { program, channel, bytes, dropped }, task)
    }

    /// Publishes a message, or drops it if the broker is unreachable or too much is unconfirmed. Returns
    /// at once whether the message was taken to be sent; whether the broker confirms it isn't known.
    pub fn try_publish(&self, message: impl Into<Arc<Message>>) -> bool {
        let message = message.into();
        let taken = self.attempt(&message).is_some();
        if !taken {
            self.dropped.inc();
            tracing::debug!(key = message.routing_key, "dropped an event or control message");
        }
        taken
    }

    /// How many messages were dropped here.
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    fn attempt(&self, message: &Arc<Message>) -> Option<()> {
        wire::check(message).ok()?;
        let channel = self.channel.borrow().channel.clone()?;
        let size = u32::try_from(message.body.len().max(1)).ok()?;
        let room = self.bytes.clone().try_acquire_many_owned(size).ok()?;
        let (pending, _handle) = pending_publish(room);
        let (message, program, routing) = (message.clone(), self.program, Routing::Optional);
        channel.try_submit(OutgoingMessage { message, program, routing, pending }).ok()
    }
}
