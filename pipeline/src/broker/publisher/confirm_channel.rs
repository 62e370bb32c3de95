//! Confirm channel: one task publishes on it and matches the broker's confirms to messages.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use amqprs::channel::{Channel, ConfirmSelectArguments};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::broker::{
    error::{AskError, PublishError},
    publisher::{
        pending_publish::OutgoingMessage,
        unconfirmed::{Sent, Unconfirmed},
    },
    session::{OpenChannel, Session, watch::ChannelEvent},
};
use crate::log_messages::PUBLISHING_CHANNEL_CLOSED;

/// How many messages may be unconfirmed. The client's own queue holds 8192 frames; well below that,
/// publishing never waits.
const MAX_UNCONFIRMED: usize = 1000;
/// How many messages may wait to be sent.
const MAX_WAITING: usize = 1024;
/// The AMQP code with which the broker refuses a message that is too large.
const PRECONDITION_FAILED: u16 = 406;
/// How long a confirm may be missing over TLS before something is written to flush the client.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);

/// A handle to one confirm channel.
#[derive(Clone)]
pub(super) struct ConfirmChannel {
    messages: mpsc::Sender<OutgoingMessage>,
    age: Age,
}

/// When the oldest unconfirmed message was sent, readable from any thread.
#[derive(Clone)]
struct Age {
    epoch: Instant,
    /// Milliseconds since the epoch, plus one; zero is none.
    oldest: Arc<AtomicU64>,
}

impl Age {
    fn set(&self, oldest: Option<Instant>) {
        let millis = |at: Instant| at.duration_since(self.epoch).as_millis() as u64 + 1;
        self.oldest.store(oldest.map_or(0, millis), Ordering::Relaxed);
    }

    fn get(&self) -> Option<Duration> {
        let since = self.oldest.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.epoch.elapsed().saturating_sub(Duration::from_millis(since)))
    }
}

impl ConfirmChannel {
    /// Opens a channel in confirm mode. The returned future publishes; it has to run on the session's
    /// thread.
    pub(super) async fn open(
        session: &Session,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), AskError> {
        let OpenChannel { channel, events } = session.open_channel().await?;
        let (channel, selected) = session
            .run(async move {
                let selected = channel.confirm_select(ConfirmSelectArguments::new(false)).await;
                (channel, selected)
            })
            .await?;
        selected.map_err(|_| AskError::Lost)?;
        let (messages, received) = mpsc::channel(MAX_WAITING);
        let age = Age { epoch: Instant::now(), oldest: Arc::default() };
        let task = ChannelTask {
            channel,
            unconfirmed: Unconfirmed::new(),
            age: age.clone(),
            flushes: session.tls,
        };
        Ok((Self { messages, age }, task.run(events, received)))
    }

    /// Hands a message to the channel's task. Fails if that has ended.
    pub(super) async fn submit(&self, message: OutgoingMessage) -> Result<(), ()> {
        self.messages.send(message).await.map_err(drop)
    }

    /// Hands a message to the channel's task without waiting. Fails if it is full or has ended.
    pub(super) fn try_submit(&self, message: OutgoingMessage) -> Result<(), ()> {
        self.messages.try_send(message).map_err(drop)
    }

    /// How long the oldest unconfirmed message has waited.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.age.get()
    }
}

/// The only task that publishes on the channel: so it knows the delivery tag of each message.
struct ChannelTask {
    channel: Channel,
    unconfirmed: Unconfirmed,
    age: Age,
    flushes: bool,
}

impl ChannelTask {
    async fn run(
        mut self,
        mut events: mpsc::UnboundedReceiver<ChannelEvent>,
        mut outgoing: mpsc::Receiver<OutgoingMessage>,
    ) {
        let mut received = Vec::with_capacity(512);
        let mut batch = Vec::with_capacity(128);
        let mut tick = interval(FLUSH_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut open = true;
        while open || !self.unconfirmed.is_empty() {
            let room = MAX_UNCONFIRMED.saturating_sub(self.unconfirmed.len()).min(128);
            tokio::select! {
                biased;
                count = events.recv_many(&mut received, 512) => {
                    if count == 0 {
                        return;
                    }
                    received.drain(..).for_each(|event| self.note(event));
                }
                count = outgoing.recv_many(&mut batch, room), if open && room > 0 => {
                    open = count > 0;
                    for message in batch.drain(..) {
                        if !self.send(message).await {
                            return;
                        }
                    }
                }
                _ = tick.tick(), if self.flushes && !self.unconfirmed.is_empty() => self.flush().await,
            }
            self.age.set(self.unconfirmed.oldest());
        }
    }

    fn note(&mut self, event: ChannelEvent) {
        match event {
            ChannelEvent::Acked { tag, multiple } => self.unconfirmed.settle(tag, multiple, true),
            ChannelEvent::Nacked { tag, multiple } => self.unconfirmed.settle(tag, multiple, false),
            ChannelEvent::Returned { message_id, exchange, routing_key, reason } => {
                self.unconfirmed.returned(message_id.as_deref(), &exchange, &routing_key, &reason);
            }
            ChannelEvent::Closed { code, text } => {
                tracing::warn!(code, text, "{PUBLISHING_CHANNEL_CLOSED}");
                if let Some(size) = too_long(code, &text) {
                    self.unconfirmed.too_long(size, &text);
                }
            }
            ChannelEvent::Cancelled => {}
        }
    }

    /// Sends one message. False when the channel has ended.
    async fn send(&mut self, message: OutgoingMessage) -> bool {
        // The broker closes the connection for a publish on a channel that it has closed.
        if !self.channel.is_open() {
            return false;
        }
        let OutgoingMessage { properties, arguments, body, pending } = message;
        if !pending.send() {
            return true;
        }
        self.unconfirmed.enter(Sent {
            pending,
            at: Instant::now(),
            exchange: arguments.exchange.clone(),
            routing_key: arguments.routing_key.clone(),
            message_id: properties.message_id().cloned(),
            size: body.len(),
            returned: None,
        });
        let sent = self.channel.basic_publish(properties, body, arguments).await;
        if sent.is_err()
            && let Some(last) = self.unconfirmed.remove_last()
        {
            let gone = PublishError::NotSent("the connection was lost".to_owned());
            last.pending.end(Err(gone));
        }
        sent.is_ok()
    }

    /// Over TLS the client may hold back the end of a burst until it writes again, and nothing
    /// else may come for half a heartbeat. Selecting confirms once more changes nothing, and is
    /// the cheapest thing to write.
    async fn flush(&self) {
        let late = self.unconfirmed.oldest().is_some_and(|at| at.elapsed() >= FLUSH_INTERVAL);
        if late && self.channel.is_open() {
            let _written_or_lost =
                self.channel.confirm_select(ConfirmSelectArguments::new(true)).await;
        }
    }
}

/// The size of the message for which the broker closed the channel, if it did so for the size. Only the
/// reply text has it.
fn too_long(code: u16, text: &str) -> Option<usize> {
    let (_, size) = text.split_once("message size ").filter(|_| code == PRECONDITION_FAILED)?;
    size.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_length_of_a_message_is_read_from_the_brokers_words() {
        let text =
            "PRECONDITION_FAILED - message size 5000 is larger than configured max size 1000";
        assert_eq!(too_long(406, text), Some(5000));
        assert_eq!(too_long(404, text), None);
        assert_eq!(too_long(406, "PRECONDITION_FAILED - invalid expiration"), None);
    }
}
