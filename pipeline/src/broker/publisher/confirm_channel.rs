//! One confirm channel and the one task that publishes on it.

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
        pending_publish::Request,
        unconfirmed::{Sent, Unconfirmed},
    },
    session::{OpenChannel, Session, watch::ChannelEvent},
};

/// How many messages may wait for their confirm. The client's own queue holds 8192 frames; as long
/// as we stay well below, publishing never waits.
const WINDOW: usize = 1000;
/// How many messages may wait for a place in the window.
const WAITING: usize = 1024;
/// The broker's code for what it refuses as it is.
const PRECONDITION_FAILED: u16 = 406;
/// How long a confirm may be missing over TLS before we write something to flush the client.
const NUDGE_AFTER: Duration = Duration::from_millis(50);

/// The way to one confirm channel.
#[derive(Clone)]
pub(super) struct ConfirmChannel {
    requests: mpsc::Sender<Request>,
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
    /// Opens a channel in confirm mode, with the work to be run on the session's thread.
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
        let (requests, received) = mpsc::channel(WAITING);
        let age = Age { epoch: Instant::now(), oldest: Arc::default() };
        let work = Work {
            channel,
            unconfirmed: Unconfirmed::new(),
            age: age.clone(),
            nudges: session.tls,
        };
        Ok((Self { requests, age }, work.run(events, received)))
    }

    /// Hands a message to the channel's task. Fails if that has ended.
    pub(super) async fn submit(&self, request: Request) -> Result<(), ()> {
        self.requests.send(request).await.map_err(drop)
    }

    /// Hands a message to the channel's task, if that can be done at once.
    pub(super) fn offer(&self, request: Request) -> Result<(), ()> {
        self.requests.try_send(request).map_err(drop)
    }

    /// How long the oldest unconfirmed message has waited.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.age.get()
    }
}

/// The one task that publishes on the channel, which is what makes delivery tags known.
struct Work {
    channel: Channel,
    unconfirmed: Unconfirmed,
    age: Age,
    nudges: bool,
}

impl Work {
    async fn run(
        mut self,
        mut events: mpsc::UnboundedReceiver<ChannelEvent>,
        mut requests: mpsc::Receiver<Request>,
    ) {
        let mut happened = Vec::with_capacity(512);
        let mut asked = Vec::with_capacity(128);
        let mut tick = interval(NUDGE_AFTER);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut open = true;
        while open || !self.unconfirmed.is_empty() {
            let room = WINDOW.saturating_sub(self.unconfirmed.len()).min(128);
            tokio::select! {
                biased;
                count = events.recv_many(&mut happened, 512) => {
                    if count == 0 {
                        return;
                    }
                    happened.drain(..).for_each(|event| self.note(event));
                }
                count = requests.recv_many(&mut asked, room), if open && room > 0 => {
                    open = count > 0;
                    for request in asked.drain(..) {
                        if !self.send(request).await {
                            return;
                        }
                    }
                }
                _ = tick.tick(), if self.nudges && !self.unconfirmed.is_empty() => self.nudge().await,
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
                tracing::warn!(code, text, "the broker closed the publishing channel");
                if let Some(size) = too_long(code, &text) {
                    self.unconfirmed.too_long(size, &text);
                }
            }
            ChannelEvent::Cancelled => {}
        }
    }

    /// Sends one message. False when the channel has ended.
    async fn send(&mut self, request: Request) -> bool {
        // Publishing on a channel that the broker has closed would cost the whole connection.
        if !self.channel.is_open() {
            return false;
        }
        let Request { properties, arguments, body, pending } = request;
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
            && let Some(last) = self.unconfirmed.strike_last()
        {
            let gone = PublishError::NotSent("the connection was lost".to_owned());
            last.pending.end(Err(gone));
        }
        sent.is_ok()
    }

    /// Over TLS the client may hold back the end of a burst until it writes again, and nothing
    /// else may come for half a heartbeat. Selecting confirms once more changes nothing, and is
    /// the cheapest thing to write.
    async fn nudge(&self) {
        let late = self.unconfirmed.oldest().is_some_and(|at| at.elapsed() >= NUDGE_AFTER);
        if late && self.channel.is_open() {
            let _written_or_lost =
                self.channel.confirm_select(ConfirmSelectArguments::new(true)).await;
        }
    }
}

/// How long the message was for which the broker closed the channel, if it did so for its length. That is
/// said in words alone.
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
