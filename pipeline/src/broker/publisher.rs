//! Publishing with confirms: many messages in flight on one channel, each with a typed end.

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
    pending_publish::{Request, pending_publish},
};
use crate::broker::{
    channel_backoff::ChannelBackoff,
    error::PublishError,
    link::{Link, LinkState},
    wire,
};
use crate::{backoff::Backoff, contract::message::Message};

/// The most bytes that may wait for their confirm. The client itself would take any number.
const BYTES_IN_FLIGHT: usize = 64 * 1024 * 1024;
/// When the oldest unconfirmed message is older than this, the broker takes no more: a memory or
/// disk alarm reaches us only as confirms that stop.
const BLOCKED_AFTER: Duration = Duration::from_secs(2);
/// A time that is never waited out.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// How long a caller waits for the channel of a link that is ready.
const OPENING: Duration = Duration::from_millis(500);
/// The pause before a refused message is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(50);

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
            ChannelBackoff::vital(),
        ));
        (Self { link, channel, bytes: Arc::new(Semaphore::new(BYTES_IN_FLIGHT)) }, task)
    }

    /// Publishes a message and waits for the broker's confirm, until the deadline at the latest.
    ///
    /// A message the broker refuses (nack) or can't route is tried again until the deadline, the
    /// latter after the topology was mended. One whose fate is unknown is never sent again here.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish(&self, message: &Message, deadline: Instant) -> Result<(), PublishError> {
        wire::check(message).map_err(PublishError::Invalid)?;
        loop {
            let refusal = match self.attempt(message, deadline).await {
                Err(error @ (PublishError::Nacked | PublishError::Unroutable(_))) => error,
                ended => return ended,
            };
            if let LinkState::Incomplete(missing) = self.link.state() {
                return Err(PublishError::Unroutable(missing));
            }
            if Instant::now() + TRY_AGAIN_AFTER >= deadline {
                return Err(refusal);
            }
            sleep(TRY_AGAIN_AFTER).await;
            if matches!(refusal, PublishError::Unroutable(_)) {
                let _mended_or_not = timeout_at(deadline, self.link.repair()).await;
            }
        }
    }

    /// Publishes a message again and again until the broker has confirmed it, however long that
    /// takes. Each time it waits for the end of the last one: the confirm, or the loss of the
    /// connection. After a loss the message may be there twice.
    ///
    /// # Errors
    /// [`PublishError::Invalid`], or [`PublishError::Unknown`] when `give_up` was cancelled.
    pub async fn publish_until_confirmed(
        &self,
        message: &Message,
        give_up: &CancellationToken,
    ) -> Result<(), PublishError> {
        let (mut backoff, mut said) = (Backoff::connecting(), false);
        let trying = async {
            loop {
                match self.publish(message, Instant::now() + FOR_EVER).await {
                    Err(error @ PublishError::Invalid(_)) => return Err(error),
                    Err(error) if said => tracing::debug!("publishing again: {error}"),
                    Err(error) => {
                        let id = message.properties.message_id.as_deref();
                        tracing::warn!(
                            requestId = id,
                            "can't be delivered yet, keeping it: {error}"
                        );
                        said = true;
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

    /// How long the oldest unconfirmed message has waited, if that is so long that the broker must
    /// be blocking us.
    pub fn blocked_for(&self) -> Option<Duration> {
        let age = self.channel.borrow().as_ref()?.oldest()?;
        (age > BLOCKED_AFTER).then_some(age)
    }

    async fn attempt(&self, message: &Message, deadline: Instant) -> Result<(), PublishError> {
        let channel = self.open_channel(deadline).await?;
        if let Some(age) = self.blocked_for() {
            return Err(PublishError::NotSent(blocked(age)));
        }
        let size = u32::try_from(message.body.len().clamp(1, BYTES_IN_FLIGHT)).unwrap_or(u32::MAX);
        let room = timeout_at(deadline, self.bytes.clone().acquire_many_owned(size)).await;
        let Ok(Ok(room)) = room else { return Err(PublishError::Overloaded) };
        let (pending, handle) = pending_publish(room);
        match timeout_at(
            deadline,
            channel.submit(Request::new(message, self.link.program(), pending)),
        )
        .await
        {
            Err(_) => return Err(PublishError::Overloaded),
            Ok(Err(())) => return Err(self.why_not()),
            Ok(Ok(())) => {}
        }
        handle.end(deadline).await
    }

    /// The channel, or the one that is being opened: on a link that has just become ready it takes a
    /// moment.
    async fn open_channel(&self, deadline: Instant) -> Result<ConfirmChannel, PublishError> {
        let mut channel = self.channel.clone();
        if !self.is_open() && matches!(self.link.state(), LinkState::Ready(_)) {
            let soon = deadline.min(Instant::now() + OPENING);
            let _open_or_not = timeout_at(soon, channel.wait_for(Option::is_some)).await.is_ok();
        }
        let open = channel.borrow().clone();
        open.ok_or_else(|| self.why_not())
    }

    /// Whether there is a channel to publish on.
    pub(super) fn is_open(&self) -> bool {
        self.channel.borrow().is_some()
    }

    fn why_not(&self) -> PublishError {
        match self.link.state() {
            LinkState::Away(reason) => {
                PublishError::NotSent(format!("the broker is away: {reason}"))
            }
            LinkState::Incomplete(missing) => PublishError::Unroutable(missing),
            LinkState::Ready(_) => PublishError::NotSent("the connection is being made".to_owned()),
        }
    }
}

pub(super) fn blocked(age: Duration) -> String {
    let seconds = age.as_secs();
    format!("the broker has confirmed nothing for {seconds} s; it may have a memory or disk alarm")
}
