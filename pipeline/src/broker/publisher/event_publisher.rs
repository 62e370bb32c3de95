//! Telling what nobody has to hear.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::broker::{
    channel_backoff::ChannelBackoff,
    link::Link,
    publisher::{
        confirm_channel::ConfirmChannel,
        open_channel::keep_open,
        pending_publish::{Request, pending_publish},
    },
    wire,
};
use crate::contract::message::Message;

/// The most bytes of announcements that may be under way.
const BYTES_IN_FLIGHT: usize = 8 * 1024 * 1024;

/// Publishes events and control messages as well as it can be done without waiting for anything.
/// Clones share one channel.
///
/// The channel is its own, so that one the broker refuses takes no request along. It asks for
/// confirms that nobody waits for: they tell how much is under way, so that a broker that takes
/// nothing (a memory or disk alarm) doesn't fill the connection the requests go by.
#[derive(Clone)]
pub struct EventPublisher {
    program: &'static str,
    channel: watch::Receiver<Option<ConfirmChannel>>,
    bytes: Arc<Semaphore>,
    dropped: Arc<AtomicU64>,
}

impl EventPublisher {
    /// Begins to publish on the link; with the task that ends, after `stop`, when everything is out.
    pub(crate) fn start(link: Link, stop: CancellationToken) -> (Self, JoinHandle<()>) {
        let (sender, channel) = watch::channel(None);
        let program = link.program();
        let task = tokio::spawn(keep_open(link, sender, stop, ChannelBackoff::modest()));
        let bytes = Arc::new(Semaphore::new(BYTES_IN_FLIGHT));
        (Self { program, channel, bytes, dropped: Arc::default() }, task)
    }

    /// Publishes a message, or drops it if the broker is away or too much is under way. Says at once
    /// whether it is on its way. What the broker does with it, nobody is told.
    pub fn try_publish(&self, message: &Message) -> bool {
        let taken = self.attempt(message).is_some();
        if !taken {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(key = message.routing_key, "an announcement was dropped");
        }
        taken
    }

    /// How many messages were dropped here.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn attempt(&self, message: &Message) -> Option<()> {
        wire::check(message).ok()?;
        let channel = self.channel.borrow().clone()?;
        let size = u32::try_from(message.body.len().max(1)).ok()?;
        let room = self.bytes.clone().try_acquire_many_owned(size).ok()?;
        let (pending, _nobody) = pending_publish(room);
        channel.offer(Request::new(message, self.program, pending).for_anybody()).ok()
    }
}
