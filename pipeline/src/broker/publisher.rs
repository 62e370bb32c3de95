//! Publisher: publishes with confirms, many messages in flight, on a channel for each route.

pub(crate) mod background_publisher;
pub(crate) mod confirm_channel;
pub(crate) mod event_publisher;
mod open_channel;
mod patience;
pub(crate) mod pending_publish;
mod progress;
mod route_channels;
pub(crate) mod unconfirmed;
mod until_confirmed;

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::mpsc::error::TrySendError,
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::broker::publisher::{
    confirm_channel::ConfirmChannel,
    patience::Patience,
    pending_publish::{
        Failure, OnConfirm, OutgoingMessage, PublishHandle, Routing, pending_publish,
    },
    route_channels::{RouteChannel, RouteChannels},
};
use crate::broker::{
    error::PublishError,
    link::{Link, LinkState},
    wire,
};
use crate::contract::message::Message;

/// When the broker has confirmed nothing on a channel for this long, it is taken to block publishers: under
/// a memory or disk alarm it reads no more, and its confirms stop. Or the queue does not answer.
const BLOCKED_AFTER: Duration = Duration::from_secs(2);
/// How long a caller waits for the channel to be opened on a new connection.
const OPEN_TIMEOUT: Duration = Duration::from_millis(500);
/// The pause before a refused message is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// A message that the broker has confirmed.
#[derive(Debug)]
pub struct Confirmed<T> {
    /// When it was confirmed.
    pub at: Instant,
    /// What followed from the confirm; none if that was not begun, or has not ended in time.
    pub followed: Option<T>,
}

/// Publishes messages with confirms. Clones share the channels.
#[derive(Clone)]
pub struct Publisher {
    link: Link,
    routes: RouteChannels,
}

impl Publisher {
    /// Begins to publish on the link; with the task that ends when everything is confirmed after
    /// `stop`.
    pub(super) fn start(link: Link, stop: CancellationToken) -> (Self, JoinHandle<()>) {
        let (routes, task) = RouteChannels::new(link.clone(), stop);
        (Self { link, routes }, task)
    }

    /// The runtime of the program, which may outlive that of a caller.
    fn runtime(&self) -> &Handle {
        self.routes.runtime()
    }

    /// Opens the channel for messages to this exchange under this key, before there is one: the first message need not
    /// wait for it, and health tells whether it is open.
    pub fn prepare(&self, exchange: &'static str, routing_key: &str) {
        self.routes.prepare(exchange.into(), routing_key);
    }

    /// Publishes a message and waits for the broker's confirm, until the deadline at the latest. Pass an [`Arc`] if you need the
    /// message afterwards; the thread of the connection shares it.
    ///
    /// A message that the broker refuses (nack) or can't route is published again until the deadline;
    /// for the latter the topology is repaired first. A message that was sent and not confirmed is
    /// published again here only if the broker has closed the channel for another one that was too long. If the future is
    /// dropped, a message that was not sent yet is not sent.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn publish(
        &self,
        message: impl Into<Arc<Message>>,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), PublishError>> + Send {
        self.publish_as(message.into(), Routing::Mandatory, Patience::until(deadline))
    }

    /// Like [`Self::publish`], for a message with whose confirm something else begins: `follow` is called on the
    /// connection's thread, which it must not hold up, as soon as the broker has confirmed the message. So the caller,
    /// who waits for what follows, need not be woken for the confirm.
    ///
    /// `followed` ends with what has followed, or with `None` once `follow` was dropped. That is also what happens when
    /// the message has to be published again: then nothing has followed from its confirm.
    ///
    /// `follow` is boxed by the caller, and the message shared, since an argument takes its room twice in a future.
    ///
    /// # Errors
    /// See [`PublishError`]. Then `follow` was not called, or, if the outcome is unknown, not yet: it is called if the
    /// message is confirmed later. It is called also if the caller has stopped to wait.
    pub async fn publish_then<T>(
        &self,
        message: Arc<Message>,
        deadline: Instant,
        follow: Box<dyn FnOnce() + Send>,
        followed: impl Future<Output = Option<T>>,
    ) -> Result<Confirmed<T>, PublishError> {
        let began = begin(&message)?;
        let mut result = None;
        let first = match self.submit(&message, Routing::Mandatory, deadline, Some(follow)).await {
            Ok(handle) => {
                result = timeout_at(deadline, followed).await.ok().flatten();
                handle.end(deadline).await
            }
            Err(failure) => Err(failure),
        };
        let patience = Patience::until(deadline);
        let ended = self.complete(began, first, &message, Routing::Mandatory, patience).await;
        ended.map(|at| Confirmed { at, followed: result })
    }

    /// Like [`Self::publish`], and tries again until the deadline while nothing can be sent, as before the connection is
    /// open: for a message whose sender has nothing better to do than to wait.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn publish_once_possible(
        &self,
        message: impl Into<Arc<Message>>,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), PublishError>> + Send {
        let patience = Patience::until(deadline).once_possible();
        self.publish_as(message.into(), Routing::Mandatory, patience)
    }

    /// Like [`Self::publish_once_possible`], for a message that can go another way: if the broker refuses it (nack) or
    /// can't route it, it is published again only until `refused_until`.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn publish_unless_refused(
        &self,
        message: impl Into<Arc<Message>>,
        refused_until: Instant,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), PublishError>> + Send {
        let patience = Patience::until(deadline).once_possible().refused_until(refused_until);
        self.publish_as(message.into(), Routing::Mandatory, patience)
    }

    /// Like [`Self::publish`], for a message to whoever receives it at the moment, if anybody: the broker
    /// also confirms, and drops, one for which no queue is bound.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn publish_to_subscribers(
        &self,
        message: impl Into<Arc<Message>>,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), PublishError>> + Send {
        self.publish_as(message.into(), Routing::Optional, Patience::until(deadline))
    }

    async fn publish_as(
        &self,
        message: Arc<Message>,
        routing: Routing,
        patience: Patience,
    ) -> Result<(), PublishError> {
        let began = begin(&message)?;
        let first = self.attempt(&message, routing, patience.deadline, None).await;
        self.complete(began, first, &message, routing, patience).await.map(drop)
    }

    /// Completes a publish that began at `began`, and whose first attempt has ended with `first`: publishes again if need be.
    /// Returns when the message was confirmed.
    async fn complete(
        &self,
        began: Instant,
        first: Result<Instant, Failure>,
        message: &Arc<Message>,
        routing: Routing,
        patience: Patience,
    ) -> Result<Instant, PublishError> {
        let ended = match first {
            Ok(confirmed) => Ok(confirmed),
            // On the heap, so that what is rare takes no room in the future of each publish.
            Err(failure) => Box::pin(self.publish_again(failure, message, routing, patience)).await,
        };
        self.link.metrics().published(&ended, began);
        ended
    }

    /// Publishes a message whose first attempt has failed so. Returns when it was confirmed.
    async fn publish_again(
        &self,
        failure: Failure,
        message: &Arc<Message>,
        routing: Routing,
        patience: Patience,
    ) -> Result<Instant, PublishError> {
        let (mut unknown, mut first) = (None, Some(failure));
        loop {
            let first = first.take();
            let ended = self.attempts(first, message, routing, patience, &mut unknown).await;
            let ended = ended.map_err(|error| unknown.take().unwrap_or(error));
            let again_until = ended.as_ref().err().and_then(|error| patience.again_until(error));
            if again_until.is_none_or(|until| Instant::now() + RETRY_INTERVAL >= until) {
                return ended;
            }
            sleep(RETRY_INTERVAL).await;
        }
    }

    /// Attempts until the broker has confirmed the message, or there is a reason or no time to attempt it
    /// again. `unknown` is set if the broker may have the message from an attempt that failed. `first` is the failure of
    /// the first attempt, if that was made already.
    async fn attempts(
        &self,
        mut first: Option<Failure>,
        message: &Arc<Message>,
        routing: Routing,
        patience: Patience,
        unknown: &mut Option<PublishError>,
    ) -> Result<Instant, PublishError> {
        let Patience { deadline, refused_until, .. } = patience;
        let mut last_refusal = None;
        loop {
            let attempted = match first.take() {
                Some(failure) => Err(failure),
                None => self.attempt(message, routing, deadline, None).await,
            };
            let refusal = match attempted {
                Ok(confirmed) => return Ok(confirmed),
                Err(Failure::Again(error)) => {
                    if matches!(error, PublishError::Unknown(_)) {
                        *unknown = Some(error.clone());
                    }
                    if Instant::now() >= deadline {
                        return Err(error);
                    }
                    continue;
                }
                Err(Failure::Final(
                    error @ (PublishError::Nacked | PublishError::Unroutable(_)),
                )) => error,
                // The deadline came before it was sent again.
                Err(Failure::Final(error @ PublishError::Overloaded)) => {
                    return Err(last_refusal.unwrap_or(error));
                }
                Err(Failure::Final(error)) => return Err(error),
            };
            if let LinkState::Incomplete(missing) = self.link.state() {
                return Err(PublishError::Unroutable(missing));
            }
            sleep(RETRY_INTERVAL.min(deadline.saturating_duration_since(Instant::now()))).await;
            if matches!(refusal, PublishError::Unroutable(_)) {
                let _repaired_or_not = timeout_at(deadline, self.link.repair()).await;
            }
            // What is sent just before the deadline would be unknown, not refused.
            if Instant::now() + RETRY_INTERVAL >= refused_until {
                return Err(refusal);
            }
            last_refusal = Some(refusal);
        }
    }

    /// For how long the broker has confirmed nothing on the channel of an essential route, if that is longer
    /// than two seconds: then the broker is taken to block publishers. Not so if requests of another type were confirmed
    /// meanwhile: only the queue of this type does not answer.
    pub(super) fn blocked_for(&self) -> Option<Duration> {
        let routes = self.routes.all();
        let goes_on = |silent: Duration| {
            let mut others = routes.iter().filter(|route| route.is_of_requests());
            others.any(|other| confirmed_ago(other).is_some_and(|ago| ago < silent))
        };
        let essential = routes.iter().filter(|route| route.is_essential());
        let silent = essential.filter_map(|route| Some((route, blocked_for(route)?)));
        let blocked =
            silent.filter(|(route, silent)| !(route.is_of_requests() && goes_on(*silent)));
        blocked.map(|(_, silent)| silent).max()
    }

    /// The routes on which the broker confirms nothing.
    pub(super) fn blocked_routes(&self) -> Vec<String> {
        let routes = self.routes.all();
        let blocked = routes.iter().filter(|route| blocked_for(route).is_some());
        blocked.map(|route| route.name()).collect()
    }

    async fn attempt(
        &self,
        message: &Arc<Message>,
        routing: Routing,
        deadline: Instant,
        on_confirm: Option<OnConfirm>,
    ) -> Result<Instant, Failure> {
        self.submit(message, routing, deadline, on_confirm).await?.end(deadline).await
    }

    /// Hands a message to the task that publishes.
    async fn submit(
        &self,
        message: &Arc<Message>,
        routing: Routing,
        deadline: Instant,
        on_confirm: Option<OnConfirm>,
    ) -> Result<PublishHandle, Failure> {
        let route = self.routes.of(message.exchange.clone(), &message.routing_key);
        let channel = self.open_channel(&route, deadline).await?;
        if let Some(age) = blocked_for(&route) {
            return Err(PublishError::NotSent(blocked(age)).into());
        }
        // To wait is rare, here and below: it is on the heap, as in `complete`.
        let room = match route.try_reserve(message.body.len()) {
            Some(room) => room,
            None => {
                let reserved = timeout_at(deadline, route.reserve(message.body.len()));
                Box::pin(reserved).await.map_err(|_| PublishError::Overloaded)?
            }
        };
        let (pending, mut handle) = pending_publish(room);
        if on_confirm.is_none() {
            handle = handle.withdrawn_on_drop();
        }
        let pending = pending.counted(self.link.metrics().unconfirmed()).then(on_confirm);
        let (message, program) = (message.clone(), self.link.program());
        let outgoing = OutgoingMessage { message, program, routing, pending };
        match channel.try_reserve() {
            Ok(place) => {
                place.send(outgoing);
                return Ok(handle);
            }
            Err(TrySendError::Full(())) => {}
            Err(TrySendError::Closed(())) => return Err(Failure::Again(self.unavailable(&route))),
        }
        let submitted = Box::pin(timeout_at(deadline, channel.submit(outgoing)));
        match submitted.await {
            Err(_) => Err(PublishError::Overloaded.into()),
            Ok(Err(())) => Err(Failure::Again(self.unavailable(&route))),
            Ok(Ok(())) => Ok(handle),
        }
    }

    /// The channel of a route; waits a moment for it on a connection that was just opened.
    async fn open_channel(
        &self,
        route: &RouteChannel,
        deadline: Instant,
    ) -> Result<ConfirmChannel, PublishError> {
        if let Some(channel) = route.current() {
            return Ok(channel);
        }
        if matches!(self.link.state(), LinkState::Ready(_)) {
            let opened_by = deadline.min(Instant::now() + OPEN_TIMEOUT);
            let _open_or_not = Box::pin(timeout_at(opened_by, route.opened())).await.is_ok();
        }
        route.current().ok_or_else(|| self.unavailable(route))
    }

    /// Why a route that was used has no channel to publish on, if one has none.
    pub(super) fn closed(&self) -> Option<String> {
        let routes = self.routes.all();
        let closed = routes.iter().find(|route| route.current().is_none())?;
        let refusal = closed.refusal().map(|refusal| refusal.to_string());
        Some(refusal.unwrap_or_else(|| "connected, the channel is being opened".to_owned()))
    }

    fn unavailable(&self, route: &RouteChannel) -> PublishError {
        match self.link.state() {
            LinkState::Away(reason) => PublishError::NotSent(reason),
            LinkState::Incomplete(missing) => PublishError::Unroutable(missing),
            LinkState::Ready(_) => route
                .refusal()
                .unwrap_or_else(|| PublishError::NotSent("the channel is being opened".to_owned())),
        }
    }
}

/// Checks a message that is about to be published, and returns when that begins.
fn begin(message: &Message) -> Result<Instant, PublishError> {
    wire::check(message).map_err(PublishError::Invalid)?;
    Ok(Instant::now())
}

fn blocked_for(route: &RouteChannel) -> Option<Duration> {
    route.current()?.silent_for().filter(|silent| *silent > BLOCKED_AFTER)
}

fn confirmed_ago(route: &RouteChannel) -> Option<Duration> {
    route.current()?.confirmed_ago()
}

pub(super) fn blocked(age: Duration) -> String {
    let seconds = age.as_secs();
    format!(
        "the broker has confirmed nothing for {seconds} s; it may have a memory or disk alarm, or its queue does not answer"
    )
}
