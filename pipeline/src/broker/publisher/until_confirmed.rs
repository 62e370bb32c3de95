//! Messages that are published again until the broker has confirmed them.

use std::{collections::HashMap, mem::discriminant, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    backoff::Backoff,
    broker::{
        error::PublishError,
        publisher::{
            Publisher, begin,
            patience::Patience,
            pending_publish::{OnConfirm, Routing},
        },
    },
    contract::message::Message,
    log_messages::NOT_PUBLISHED_YET,
};

/// The publish timeout of messages that are retried until they are confirmed: practically none.
const NO_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// For how long a message that its queue refuses, or that can't be routed, is tried again in quick succession, as is enough
/// for a queue that chooses its leader. After that it is logged, and tried again with pauses like any other.
const REFUSED_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a message that can't be published is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

impl Publisher {
    /// Publishes a message, again after each failure, until the broker has confirmed it. Each attempt
    /// ends with the confirm or the loss of the connection. After a loss the broker may have the
    /// message twice.
    ///
    /// # Errors
    /// [`PublishError::Invalid`], or [`PublishError::Unknown`] when `give_up` was cancelled.
    pub fn publish_until_confirmed(
        &self,
        message: impl Into<Arc<Message>>,
        give_up: &CancellationToken,
    ) -> impl Future<Output = Result<(), PublishError>> + Send {
        self.publish_until_ended(message.into(), give_up, None)
    }

    /// Like [`Self::publish_until_confirmed`], for a message with whose confirm something else is due: `follow` is called on
    /// the connection's thread, which it must not hold up, as soon as the broker has confirmed the message. So that need not
    /// wait until the caller is woken.
    ///
    /// It is not called, but dropped, if the message had to be published again: then it is for the caller to do the same.
    /// It may be called when the caller has the confirm already, and after `give_up`, if the confirm comes then.
    ///
    /// # Errors
    /// As [`Self::publish_until_confirmed`].
    pub fn publish_until_confirmed_then(
        &self,
        message: impl Into<Arc<Message>>,
        give_up: &CancellationToken,
        follow: impl FnOnce() + Send + 'static,
    ) -> impl Future<Output = Result<(), PublishError>> + Send {
        self.publish_until_ended(message.into(), give_up, Some(Box::new(follow)))
    }

    async fn publish_until_ended(
        &self,
        message: Arc<Message>,
        give_up: &CancellationToken,
        on_confirm: Option<OnConfirm>,
    ) -> Result<(), PublishError> {
        tokio::select! {
            biased;
            ended = self.publish_without_timeout(&message, on_confirm) => ended,
            () = give_up.cancelled() => Err(PublishError::Unknown("stopping before it was confirmed".to_owned())),
        }
    }

    async fn publish_without_timeout(
        &self,
        message: &Arc<Message>,
        mut on_confirm: Option<OnConfirm>,
    ) -> Result<(), PublishError> {
        let (mut backoff, mut logged) = (Backoff::connecting(), HashMap::new());
        let refused_until = Instant::now() + REFUSED_TIMEOUT;
        loop {
            let (deadline, routing) = (Instant::now() + NO_TIMEOUT, Routing::Mandatory);
            let began = begin(message)?;
            let first = self.attempt(message, routing, deadline, on_confirm.take()).await;
            let patience = Patience::until(deadline).refused_until(refused_until);
            match self.complete(began, first, message, routing, patience).await {
                Err(error @ PublishError::Invalid(_)) => return Err(error),
                Err(error @ PublishError::TooLarge { .. }) => {
                    return Err(PublishError::Invalid(error.to_string()));
                }
                Err(error) => {
                    // Another kind of error is news: while a program starts, the first one is often only that it
                    // is still connecting.
                    let (kind, now) = (discriminant(&error), Instant::now());
                    if logged.get(&kind).is_some_and(|until| now < *until) {
                        tracing::debug!("publishing again: {error}");
                    } else {
                        let id = message.properties.message_id.as_deref();
                        tracing::warn!(message_id = id, reason = %error, "{NOT_PUBLISHED_YET}");
                        logged.insert(kind, now + LOG_INTERVAL);
                    }
                }
                Ok(_) => return Ok(()),
            }
            sleep(backoff.next_pause()).await;
        }
    }
}
