//! Callbacks of the AMQP client: forwards channel events, and marks the session lost.

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

use crate::broker::session::session_end::{CountedChannel, SessionEnd};

/// What happens on a channel.
#[derive(Debug)]
pub(crate) enum ChannelEvent {
    Acked { tag: u64, multiple: bool },
    Nacked { tag: u64, multiple: bool },
    Returned { message_id: Option<String>, exchange: String, routing_key: String, reason: String },
    Cancelled,
    Closed { code: u16, text: String },
}

/// Marks the session lost when the client drops it: the client does so whatever ends its reader.
pub(super) struct ConnectionWatch(pub(super) SessionEnd);

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

/// Forwards the events of a channel. It never waits, since the client's reader makes these calls.
pub(super) struct ChannelWatch {
    pub(super) events: mpsc::UnboundedSender<ChannelEvent>,
    pub(super) closed_channels: Arc<AtomicUsize>,
    pub(super) _open: CountedChannel,
}

impl ChannelWatch {
    fn send(&self, event: ChannelEvent) {
        // The receiver is gone when the channel is being dropped.
        let _ = self.events.send(event);
    }
}

#[async_trait::async_trait]
impl ChannelCallback for ChannelWatch {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), Error> {
        self.closed_channels.fetch_add(1, Ordering::Relaxed);
        self.send(ChannelEvent::Closed {
            code: close.reply_code(),
            text: close.reply_text().clone(),
        });
        Ok(())
    }
    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), Error> {
        self.send(ChannelEvent::Cancelled);
        Ok(())
    }
    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, Error> {
        Ok(active)
    }
    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        self.send(ChannelEvent::Acked { tag: ack.delivery_tag(), multiple: ack.mutiple() });
    }
    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        self.send(ChannelEvent::Nacked { tag: nack.delivery_tag(), multiple: nack.multiple() });
    }
    async fn publish_return(
        &mut self,
        _: &Channel,
        returned: Return,
        properties: BasicProperties,
        _: Vec<u8>,
    ) {
        self.send(ChannelEvent::Returned {
            message_id: properties.message_id().cloned(),
            exchange: returned.exchange().clone(),
            routing_key: returned.routing_key().clone(),
            reason: format!("{} {}", returned.reply_code(), returned.reply_text()),
        });
    }
}
