//! Confirm channel: one task publishes on it and matches the broker's confirms to messages.

use std::time::Duration;

use amqprs::channel::{BasicPublishArguments, ConfirmSelectArguments};
use tokio::{
    sync::mpsc::{self, Permit, error::TrySendError},
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::broker::{
    error::{AskError, PublishError},
    publisher::{
        pending_publish::{Failure, OutgoingMessage, Routing},
        progress::Progress,
        unconfirmed::{ReturnedName, Sent, Unconfirmed},
    },
    session::{
        OpenChannel, Session, SessionChannel, message_limit::MessageLimit, watch::ChannelEvent,
    },
    wire,
};
use crate::log_messages::{NEVER_CONFIRMED, PUBLISHING_CHANNEL_CLOSED};

/// How many messages may be unconfirmed. When a queue doesn't answer, RabbitMQ stops reading from the whole
/// connection after 200 to 400 further messages on one channel (its credit flow): other channels go on only
/// if this one stops before. The client's own queue holds 8192 frames, so publishing never waits.
const MAX_UNCONFIRMED: usize = 200;
/// How many messages are remembered, with confirmed ones behind an older one that isn't.
const MAX_PLACES: usize = 1 << 16;
/// How many messages may wait to be sent.
const MAX_WAITING: usize = 1024;
/// How long a channel that was replaced waits for the last confirms.
const RETIRED_TIMEOUT: Duration = Duration::from_secs(5);
/// The AMQP code with which the broker refuses a message that is too large.
const PRECONDITION_FAILED: u16 = 406;
/// The AMQP code with which the broker refuses a message whose sender lacks the permission.
const ACCESS_REFUSED: u16 = 403;
/// The AMQP code with which the broker refuses a message to an exchange that is not there.
const NOT_FOUND: u16 = 404;
/// How long a confirm may be missing over TLS before something is written to flush the client.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);

/// A handle to one confirm channel.
#[derive(Clone)]
pub(super) struct ConfirmChannel {
    messages: mpsc::Sender<OutgoingMessage>,
    progress: Progress,
    retired: CancellationToken,
}

/// How many messages may be unconfirmed on a channel until the broker has confirmed the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// As many as later.
    Full,
    /// One: the channel replaces one on which confirms were missing.
    OneMessage,
}

impl ConfirmChannel {
    /// Opens a channel in confirm mode. The returned future publishes; it has to run on the session's
    /// thread.
    pub(super) async fn open(
        session: &Session,
        trust: Trust,
    ) -> Result<(Self, impl Future<Output = ChannelEnd> + Send + use<>), AskError> {
        let OpenChannel { channel, events } = session.open_channel().await?;
        let (channel, selected) = session
            .run(async move {
                let selected = channel.confirm_select(ConfirmSelectArguments::new(false)).await;
                (channel, selected)
            })
            .await?;
        selected.map_err(|_| AskError::Lost)?;
        let (messages, received) = mpsc::channel(MAX_WAITING);
        let (progress, retired) = (Progress::new(), CancellationToken::new());
        let task = ChannelTask {
            channel,
            unconfirmed: Unconfirmed::new(),
            trust,
            last_confirm: None,
            progress: progress.clone(),
            retired: retired.clone(),
            flushes: session.tls,
            message_limit: session.message_limit.clone(),
            unsent: Vec::new(),
            end: ChannelEnd::Other,
        };
        Ok((Self { messages, progress, retired }, task.run(events, received)))
    }

    /// Waits for a place and hands a message to the channel's task. Fails if that takes no more messages.
    pub(super) async fn submit(&self, message: OutgoingMessage) -> Result<(), ()> {
        self.messages.send(message).await.map_err(drop)
    }

    /// Hands a message to the channel's task without waiting. Fails if it is full or takes no more.
    pub(super) fn try_submit(&self, message: OutgoingMessage) -> Result<(), ()> {
        self.messages.try_send(message).map_err(drop)
    }

    /// A place for a message for the channel's task. Fails if too many wait there, or it takes no more.
    pub(super) fn try_reserve(&self) -> Result<Permit<'_, OutgoingMessage>, TrySendError<()>> {
        self.messages.try_reserve()
    }

    /// Whether messages can be handed to the channel's task.
    pub(super) fn is_open(&self) -> bool {
        !self.messages.is_closed()
    }

    /// Ends the channel: messages that wait to be sent are published on another one, and those that were
    /// sent may still be confirmed for [`RETIRED_TIMEOUT`].
    pub(super) fn retire(&self) {
        self.retired.cancel();
    }

    /// How long the oldest unconfirmed message has waited.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.progress.oldest()
    }

    /// For how long the broker has confirmed nothing, although something is unconfirmed.
    pub(super) fn silent_for(&self) -> Option<Duration> {
        self.progress.silent_for()
    }

    /// How long ago the broker has confirmed something on this channel, if it ever has.
    pub(super) fn confirmed_ago(&self) -> Option<Duration> {
        self.progress.confirmed_ago()
    }
}

/// The only task that publishes on the channel: so it knows the delivery tag of each message.
struct ChannelTask {
    channel: SessionChannel,
    unconfirmed: Unconfirmed,
    trust: Trust,
    last_confirm: Option<Instant>,
    progress: Progress,
    retired: CancellationToken,
    flushes: bool,
    message_limit: MessageLimit,
    /// What came after the broker had closed the channel.
    unsent: Vec<OutgoingMessage>,
    end: ChannelEnd,
}

/// Why a channel has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ChannelEnd {
    /// The broker has closed it for a message that was too long. It will get no such message again.
    MessageTooLarge,
    /// The broker has closed it and taken nothing of what was unconfirmed, with this error.
    Refused(PublishError),
    /// Everything is confirmed, or the channel is lost, closed or given up.
    Other,
}

impl ChannelEnd {
    /// The end of a channel that the broker did not open.
    pub(super) fn of_refused_open(error: AskError) -> Self {
        match error {
            AskError::Refused { .. } | AskError::NoChannelLeft { .. } => {
                tracing::error!("can't publish: {error}");
                Self::Refused(PublishError::NotSent(error.to_string()))
            }
            AskError::Lost | AskError::NotCounted => Self::Other,
        }
    }

    /// The error of messages until there is another channel, if it is known.
    pub(super) fn refusal(self) -> Option<PublishError> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::MessageTooLarge | Self::Other => None,
        }
    }
}

impl ChannelTask {
    /// Publishes until the channel ends. When it is dropped, so are the messages, which tells their callers.
    async fn run(
        mut self,
        events: mpsc::UnboundedReceiver<ChannelEvent>,
        mut outgoing: mpsc::Receiver<OutgoingMessage>,
    ) -> ChannelEnd {
        let retired = self.retired.clone();
        let given_up = async {
            retired.cancelled().await;
            sleep(RETIRED_TIMEOUT).await;
        };
        tokio::select! {
            () = self.publish(events, &mut outgoing) => self.close().await,
            () = given_up => tracing::warn!(messages = self.unconfirmed.len(), "{NEVER_CONFIRMED}"),
        }
        if self.end != ChannelEnd::Other {
            self.unsent.drain(..).for_each(pass_on);
            pass_on_all(&mut outgoing);
        }
        self.end
    }

    async fn publish(
        &mut self,
        mut events: mpsc::UnboundedReceiver<ChannelEvent>,
        outgoing: &mut mpsc::Receiver<OutgoingMessage>,
    ) {
        let mut received = Vec::with_capacity(512);
        let mut batch = Vec::with_capacity(128);
        let mut tick = interval(FLUSH_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let retired = self.retired.clone();
        let mut open = true;
        while open || !self.unconfirmed.is_empty() {
            let room = self.room();
            tokio::select! {
                biased;
                count = events.recv_many(&mut received, 512) => {
                    if count == 0 {
                        return;
                    }
                    received.drain(..).for_each(|event| self.note(event));
                }
                () = retired.cancelled(), if open => {
                    open = false;
                    pass_on_all(outgoing);
                }
                count = outgoing.recv_many(&mut batch, room), if open && room > 0 => {
                    open = count > 0;
                    for message in batch.drain(..) {
                        let unsent = self.send(message).await;
                        self.unsent.extend(unsent);
                    }
                    if !self.unsent.is_empty() {
                        // Confirms that came before the end of the channel count.
                        while let Some(event) = events.recv().await {
                            self.note(event);
                        }
                        return;
                    }
                }
                _ = tick.tick(), if self.flushes && !self.unconfirmed.is_empty() => self.flush().await,
            }
            self.progress.set(self.unconfirmed.oldest(), self.last_confirm);
        }
    }

    /// Closes the channel if all is confirmed. The client does so, too, when the channel is dropped, but while the
    /// connection is closed: then the broker sees a lost connection.
    async fn close(&mut self) {
        if self.unconfirmed.is_empty() && self.channel.is_open() {
            let _closed_or_lost = self.channel.clone().close().await;
        }
    }

    /// How many messages may be sent now.
    fn room(&self) -> usize {
        let max = match self.trust {
            Trust::OneMessage if self.last_confirm.is_none() => 1,
            _ => MAX_UNCONFIRMED,
        };
        let places = MAX_PLACES.saturating_sub(self.unconfirmed.places());
        max.saturating_sub(self.unconfirmed.len()).min(places).min(128)
    }

    fn note(&mut self, event: ChannelEvent) {
        match event {
            ChannelEvent::Acked { tag, multiple } => self.settle(tag, multiple, true),
            ChannelEvent::Nacked { tag, multiple } => self.settle(tag, multiple, false),
            ChannelEvent::Returned { message_id, exchange, routing_key, reason } => {
                let name = ReturnedName::new(message_id.as_deref(), &exchange, &routing_key);
                self.unconfirmed.returned(name, &reason);
            }
            ChannelEvent::Closed { code, text } => {
                tracing::warn!(code, text, "{PUBLISHING_CHANNEL_CLOSED}");
                self.closed(code, text);
            }
            ChannelEvent::Cancelled => {}
        }
    }

    fn closed(&mut self, code: u16, text: String) {
        if let Some(max_bytes) = max_message_bytes(code, &text) {
            self.message_limit.set(max_bytes);
            self.unconfirmed.end_for_size(max_bytes);
            self.end = ChannelEnd::MessageTooLarge;
        } else if let Some(refusal) = self.refusal(code, text) {
            self.unconfirmed.end_refused(&refusal);
            self.end = ChannelEnd::Refused(refusal);
        }
    }

    /// Why the broker has taken none of the unconfirmed messages, which all go to the same exchange. Not
    /// certain if it has taken others before: then it may have taken the first of several, too.
    fn refusal(&self, code: u16, text: String) -> Option<PublishError> {
        let is_certain = self.last_confirm.is_none() || self.unconfirmed.len() == 1;
        match code {
            ACCESS_REFUSED if is_certain => Some(PublishError::Refused(text)),
            NOT_FOUND if is_certain => Some(PublishError::Unroutable(text)),
            _ => None,
        }
    }

    fn settle(&mut self, tag: u64, multiple: bool, taken: bool) {
        self.unconfirmed.settle(tag, multiple, taken);
        self.last_confirm = Some(Instant::now());
    }

    /// Sends one message, or returns it if the channel is closed.
    async fn send(&mut self, outgoing: OutgoingMessage) -> Option<OutgoingMessage> {
        // The broker closes the connection for a publish on a channel that it has closed.
        if !self.channel.is_open() {
            return Some(outgoing);
        }
        let OutgoingMessage { message, program, routing, pending } = outgoing;
        let bytes = message.body.len();
        if let Some(max_bytes) = self.message_limit.exceeded_by(bytes) {
            pending.end(Err(PublishError::TooLarge { bytes, max_bytes }.into()));
            return None;
        }
        if !pending.send() {
            return None;
        }
        self.unconfirmed.enter(Sent {
            pending,
            at: Instant::now(),
            name: ReturnedName::new(
                message.properties.message_id.as_deref(),
                &message.exchange,
                &message.routing_key,
            ),
            size: bytes,
            returned: None,
        });
        let properties = wire::to_wire(&message.properties, program);
        let mut arguments = BasicPublishArguments::new(&message.exchange, &message.routing_key);
        arguments.mandatory(routing == Routing::Mandatory);
        let sent = self.channel.basic_publish(properties, message.body.clone(), arguments).await;
        if sent.is_err()
            && let Some(last) = self.unconfirmed.remove_last()
        {
            let gone = PublishError::NotSent("the connection was lost".to_owned());
            last.pending.end(Err(gone.into()));
        }
        None
    }

    /// Over TLS the client may hold back the end of a burst until it writes again, and nothing
    /// else may come for half a heartbeat. Selecting confirms once more changes nothing, and is
    /// the cheapest thing to write.
    async fn flush(&mut self) {
        let late = self.unconfirmed.oldest().is_some_and(|at| at.elapsed() >= FLUSH_INTERVAL);
        if late && self.channel.is_open() {
            let _written_or_lost =
                self.channel.confirm_select(ConfirmSelectArguments::new(true)).await;
        }
    }
}

/// Has the messages that wait to be sent published on another channel.
fn pass_on_all(outgoing: &mut mpsc::Receiver<OutgoingMessage>) {
    outgoing.close();
    while let Ok(message) = outgoing.try_recv() {
        pass_on(message);
    }
}

/// Has a message that was not sent published on another channel.
fn pass_on(OutgoingMessage { pending, .. }: OutgoingMessage) {
    let lost = pending.lost("the channel has ended");
    pending.end(Err(Failure::Again(lost)));
}

/// The length of the longest message that the broker takes, if it has closed the channel for a longer one.
/// Only the reply text has it.
fn max_message_bytes(code: u16, text: &str) -> Option<usize> {
    let number = |text: &str| text.split(' ').next()?.parse::<usize>().ok();
    let (_, size) = text.split_once("message size ").filter(|_| code == PRECONDITION_FAILED)?;
    let max = size.split_once("max size ").and_then(|(_, max)| number(max));
    max.or_else(|| number(size)?.checked_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_longest_length_of_messages_is_read_from_the_brokers_words() {
        let text = |rest: &str| format!("PRECONDITION_FAILED - {rest}");
        let configured = text("message size 5000 is larger than configured max size 1000");
        assert_eq!(max_message_bytes(406, &configured), Some(1000));
        assert_eq!(max_message_bytes(404, &configured), None);
        let fixed = text("message size 5000 is larger than max size 999");
        assert_eq!(max_message_bytes(406, &fixed), Some(999));
        assert_eq!(max_message_bytes(406, &text("message size 5000 is too large")), Some(4999));
        assert_eq!(max_message_bytes(406, &text("invalid expiration")), None);
    }
}
