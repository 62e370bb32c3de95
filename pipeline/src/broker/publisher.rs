//! Publisher: publishes with confirms, many messages in flight on one channel.

pub(crate) mod background_publisher;
pub(crate) mod confirm_channel;
pub(crate) mod event_publisher;
mod open_channel;
pub(crate) mod pending_publish;
pub(crate) mod unconfirmed;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::broker::publisher::{
    confirm_channel::ConfirmChannel,
    pending_publish::{OutgoingMessage, pending_publish},
};
use crate::broker::{
    channel_backoff::ChannelBackoff,
    error::PublishError,
    link::{Link, LinkState},
    wire,
};
use crate::{backoff::Backoff, contract::message::Message};

/// How many bytes may be unconfirmed. The client itself has no bound.
const MAX_UNCONFIRMED_BYTES: usize = 64 * 1024 * 1024;
/// When the oldest unconfirmed message is older than this, the broker is taken to block publishers:
/// under a memory or disk alarm it reads no more, and its confirms stop.
const BLOCKED_AFTER: Duration = Duration::from_secs(2);
/// The publish timeout of messages that are retried until they are confirmed: practically none.
const NO_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// How long a caller waits for the channel to be opened on a new connection.
const OPEN_TIMEOUT: Duration = Duration::from_millis(500);
/// The pause before a refused message is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Whether a queue has to take a message.
#[derive(Clone, Copy)]
enum Routing {
    Mandatory,
    Optional,
}

/// Publishes messages with confirms. Clones share one channel.
#[derive(Clone)]
pub struct Publisher {
    link: Link,
    channel: watch::Receiver<Option<ConfirmChannel>>,
    bytes: Arc<Semaphore>,
}

impl Publisher {
    /// Begins to publish on the link; with the task that ends when everything is confirmed after
    /// `stop`.
    pub(super) fn start(link: Link, stop: CancellationToken) -> (Self, JoinHandle<()>) {
        let (sender, channel) = watch::channel(None);
        let task = tokio::spawn(open_channel::keep_open(
            link.clone(),
            sender,
            stop,
            ChannelBackoff::required(),
        ));
        (Self { link, channel, bytes: Arc::new(Semaphore::new(MAX_UNCONFIRMED_BYTES)) }, task)
    }

    /// Publishes a message and waits for the broker's confirm, until the deadline at the latest.
    ///
    /// A message that the broker refuses (nack) or can't route is published again until the deadline;
    /// for the latter the topology is repaired first. A message that was sent and not confirmed is
    /// never published again here.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish(&self, message: &Message, deadline: Instant) -> Result<(), PublishError> {
        self.publish_as(message, Routing::Mandatory, deadline).await
    }

    /// Like [`Self::publish`], for a message to whoever receives it at the moment, if anybody: the broker
    /// also confirms, and drops, one for which no queue is bound.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish_to_subscribers(
        &self,
        message: &Message,
        deadline: Instant,
    ) -> Result<(), PublishError> {
        self.publish_as(message, Routing::Optional, deadline).await
    }

    async fn publish_as(
        &self,
        message: &Message,
        routing: Routing,
        deadline: Instant,
    ) -> Result<(), PublishError> {
        wire::check(message).map_err(PublishError::Invalid)?;
        let mut last_refusal = None;
        loop {
            let refusal = match self.attempt(message, routing, deadline).await {
                Err(error @ (PublishError::Nacked | PublishError::Unroutable(_))) => error,
                // The deadline came before it was sent again.
                Err(error @ PublishError::Overloaded) => return Err(last_refusal.unwrap_or(error)),
                ended => return ended,
            };
            if let LinkState::Incomplete(missing) = self.link.state() {
                return Err(PublishError::Unroutable(missing));
            }
            if Instant::now() + RETRY_INTERVAL >= deadline {
                return Err(refusal);
            }
            sleep(RETRY_INTERVAL).await;
            if matches!(refusal, PublishError::Unroutable(_)) {
                let _repaired_or_not = timeout_at(deadline, self.link.repair()).await;
            }
            last_refusal = Some(refusal);
        }
    }

    /// Publishes a message, again after each failure, until the broker has confirmed it. Each attempt
    /// ends with the confirm or the loss of the connection. After a loss the broker may have the
    /// message twice.
    ///
    /// # Errors
    /// [`PublishError::Invalid`], or [`PublishError::Unknown`] when `give_up` was cancelled.
    pub async fn publish_until_confirmed(
        &self,
        message: &Message,
        give_up: &CancellationToken,
    ) -> Result<(), PublishError> {
        let (mut backoff, mut logged) = (Backoff::connecting(), false);
        let trying = async {
            loop {
                match self.publish(message, Instant::now() + NO_TIMEOUT).await {
                    Err(error @ PublishError::Invalid(_)) => return Err(error),
                    Err(error) if logged => tracing::debug!("publishing again: {error}"),
                    Err(error) => {
                        let id = message.properties.message_id.as_deref();
                        tracing::warn!(message_id = id, "can't publish yet, retrying: {error}");
                        logged = true;
                    }
                    Ok(()) => return Ok(()),
                }
                sleep(backoff.next_pause()).await;
            }
        };
        tokio::select! {
            biased;
            ended = trying => ended,
            () = give_up.cancelled() => Err(PublishError::Unknown("stopping before it was confirmed".to_owned())),
        }
    }

    /// How long the oldest unconfirmed message has waited, if that is longer than two seconds:
    /// then the broker is taken to block publishers.
    pub fn blocked_for(&self) -> Option<Duration> {
        let age = self.channel.borrow().as_ref()?.oldest()?;
        (age > BLOCKED_AFTER).then_some(age)
    }

    async fn attempt(
        &self,
        message: &Message,
        routing: Routing,
        deadline: Instant,
    ) -> Result<(), PublishError> {
        let channel = self.open_channel(deadline).await?;
        if let Some(age) = self.blocked_for() {
            return Err(PublishError::NotSent(blocked(age)));
        }
        let size =
            u32::try_from(message.body.len().clamp(1, MAX_UNCONFIRMED_BYTES)).unwrap_or(u32::MAX);
        let room = timeout_at(deadline, self.bytes.clone().acquire_many_owned(size)).await;
        let Ok(Ok(room)) = room else { return Err(PublishError::Overloaded) };
        let (pending, handle) = pending_publish(room);
        let outgoing = OutgoingMessage::new(message, self.link.program(), pending);
        let outgoing = match routing {
            Routing::Mandatory => outgoing,
            Routing::Optional => outgoing.not_mandatory(),
        };
        match timeout_at(deadline, channel.submit(outgoing)).await {
            Err(_) => return Err(PublishError::Overloaded),
            Ok(Err(())) => return Err(self.unavailable()),
            Ok(Ok(())) => {}
        }
        handle.end(deadline).await
    }

    /// The channel; waits a moment for it on a connection that was just opened.
    async fn open_channel(&self, deadline: Instant) -> Result<ConfirmChannel, PublishError> {
        let mut channel = self.channel.clone();
        if !self.is_open() && matches!(self.link.state(), LinkState::Ready(_)) {
            let opened_by = deadline.min(Instant::now() + OPEN_TIMEOUT);
            let _open_or_not =
                timeout_at(opened_by, channel.wait_for(Option::is_some)).await.is_ok();
        }
        let open = channel.borrow().clone();
        open.ok_or_else(|| self.unavailable())
    }

    /// Whether there is a channel to publish on.
    pub(super) fn is_open(&self) -> bool {
        self.channel.borrow().is_some()
    }

    fn unavailable(&self) -> PublishError {
        match self.link.state() {
            LinkState::Away(reason) => {
                PublishError::NotSent(format!("the broker is unreachable: {reason}"))
            }
            LinkState::Incomplete(missing) => PublishError::Unroutable(missing),
            LinkState::Ready(_) => PublishError::NotSent("the channel is being opened".to_owned()),
        }
    }
}

pub(super) fn blocked(age: Duration) -> String {
    let seconds = age.as_secs();
    format!("the broker has confirmed nothing for {seconds} s; it may have a memory or disk alarm")
}
