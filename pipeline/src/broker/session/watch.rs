//! What the client tells by callbacks, passed on.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use amqprs::{
    Ack, BasicProperties, Cancel, Close, CloseChannel, Nack, Return,
    callbacks::{ChannelCallback, ConnectionCallback},
    channel::Channel,
    connection::Connection,
    error::Error,
};
use tokio::sync::mpsc;

use crate::broker::session::fate::Fate;

/// What happens on a channel.
#[derive(Debug)]
pub(crate) enum ChannelEvent {
    Acked { tag: u64, multiple: bool },
    Nacked { tag: u64, multiple: bool },
    Returned { message_id: Option<String>, exchange: String, routing_key: String, reason: String },
    Cancelled,
    Closed { code: u16, text: String },
}

/// Its drop is the surest sign of a lost connection: whatever ends the client's reader drops it.
pub(super) struct ConnectionWatch(pub(super) Fate);

impl Drop for ConnectionWatch {
    fn drop(&mut self) {
        self.0.lost.cancel();
    }
}

#[async_trait::async_trait]
impl ConnectionCallback for ConnectionWatch {
    async fn close(&mut self, _: &Connection, close: Close) -> Result<(), Error> {
        let text = format!(
            "the broker closed the connection: {} {}",
            close.reply_code(),
            close.reply_text()
        );
        self.0.end(Some(close.reply_code()), &text);
        Ok(())
    }
    async fn blocked(&mut self, _: &Connection, _: String) {}
    async fn unblocked(&mut self, _: &Connection) {}
    async fn secret_updated(&mut self, _: &Connection) {}
}

/// Passes on what happens and never waits: these calls run inside the client's reader.
pub(super) struct ChannelWatch {
    pub(super) events: mpsc::UnboundedSender<ChannelEvent>,
    pub(super) closed_channels: Arc<AtomicUsize>,
    /// Counts the channel among those that are open.
    pub(super) _open: Arc<()>,
}

impl ChannelWatch {
    fn tell(&self, event: ChannelEvent) {
        // Nobody listens any more when the channel is being dropped.
        let _ = self.events.send(event);
    }
}

#[async_trait::async_trait]
impl ChannelCallback for ChannelWatch {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), Error> {
        self.closed_channels.fetch_add(1, Ordering::Relaxed);
        self.tell(ChannelEvent::Closed {
            code: close.reply_code(),
            text: close.reply_text().clone(),
        });
        Ok(())
    }
    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), Error> {
        self.tell(ChannelEvent::Cancelled);
        Ok(())
    }
    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, Error> {
        Ok(active)
    }
    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        self.tell(ChannelEvent::Acked { tag: ack.delivery_tag(), multiple: ack.mutiple() });
    }
    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        self.tell(ChannelEvent::Nacked { tag: nack.delivery_tag(), multiple: nack.multiple() });
    }
    async fn publish_return(
        &mut self,
        _: &Channel,
        returned: Return,
        properties: BasicProperties,
        _: Vec<u8>,
    ) {
        self.tell(ChannelEvent::Returned {
            message_id: properties.message_id().cloned(),
            exchange: returned.exchange().clone(),
            routing_key: returned.routing_key().clone(),
            reason: format!("{} {}", returned.reply_code(), returned.reply_text()),
        });
    }
}
