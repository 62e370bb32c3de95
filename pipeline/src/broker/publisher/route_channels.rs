//! Route channels: one confirm channel for each route, opened at the first message to it, or before.
//!
//! A queue that confirms nothing holds up only the messages of its own route.

use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    broker::{
        channel_backoff::ChannelBackoff,
        error::PublishError,
        link::{Link, LinkState},
        publisher::{
            confirm_channel::ConfirmChannel,
            open_channel::{Current, keep_open},
        },
    },
    topology::{
        names::{EXCHANGE, KEY_FAILED, KEY_REQUEST},
        retry::RETRY,
    },
};

/// How many routes have a channel of their own. Programs use fewer; routes beyond share those.
const MAX_ROUTES: usize = 32;
/// How many channels of the publishing connection are left for other things: events, declarations, and a
/// channel that takes the place of another.
const OTHER_CHANNELS: u16 = 3;
/// How many bytes may be unconfirmed on a route: one message of the greatest length that is accepted. The
/// client itself has no bound.
const MAX_UNCONFIRMED_BYTES: usize = 16 * 1024 * 1024;

/// Where a message is published to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Route {
    exchange: Cow<'static, str>,
    routing_key: String,
}

/// The channels of all routes. Clones share them.
#[derive(Clone)]
pub(super) struct RouteChannels {
    link: Link,
    stop: CancellationToken,
    /// Where the channels are kept open: the thread of whoever is the first to publish to a route may end sooner than the
    /// program.
    runtime: Handle,
    tasks: TaskTracker,
    channels: Arc<Mutex<Vec<Arc<RouteChannel>>>>,
}

/// The channel of a route.
pub(super) struct RouteChannel {
    route: Route,
    current: watch::Receiver<Current>,
    bytes: Arc<Semaphore>,
}

impl RouteChannels {
    /// No channels yet; with the task that ends when everything is confirmed after `stop`.
    pub(super) fn new(link: Link, stop: CancellationToken) -> (Self, JoinHandle<()>) {
        let tasks = TaskTracker::new();
        let (stopped, ended) = (stop.clone(), tasks.clone());
        let task = tokio::spawn(async move {
            stopped.cancelled().await;
            ended.close();
            ended.wait().await;
        });
        let runtime = Handle::current();
        (Self { link, stop, runtime, tasks, channels: Arc::default() }, task)
    }

    /// Where the channels are kept open.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Opens the channel for messages to this exchange under this key. Before there is a connection, which knows how many
    /// channels there can be, that is done for one route; the others follow as soon as there is one.
    pub(super) fn prepare(&self, exchange: Cow<'static, str>, routing_key: &str) {
        self.of(exchange.clone(), routing_key);
        let (routes, routing_key) = (self.clone(), routing_key.to_owned());
        let once_connected = async move {
            if routes.link.clone().ready().await.is_some() {
                routes.of(exchange, &routing_key);
            }
        };
        self.runtime.spawn(self.stop.clone().run_until_cancelled_owned(once_connected));
    }

    /// The channel for messages to this exchange under this key, which may yet have to be opened.
    pub(super) fn of(&self, exchange: Cow<'static, str>, routing_key: &str) -> Arc<RouteChannel> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let is_its = |channel: &&Arc<RouteChannel>| {
            channel.route.exchange == exchange && channel.route.routing_key == routing_key
        };
        if let Some(channel) = channels.iter().find(is_its) {
            return channel.clone();
        }
        let route = Route { exchange, routing_key: routing_key.to_owned() };
        if channels.len() >= self.max_routes() {
            return channels[shared(&route, channels.len())].clone();
        }
        let channel = Arc::new(self.open(route));
        channels.push(channel.clone());
        channel
    }

    /// The channels of the routes that were used.
    pub(super) fn all(&self) -> Vec<Arc<RouteChannel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many routes can have a channel of their own. Without a connection, which knows the number, one.
    fn max_routes(&self) -> usize {
        match self.link.state() {
            LinkState::Ready(session) => {
                let channels = session.max_channels.saturating_sub(OTHER_CHANNELS);
                usize::from(channels).clamp(1, MAX_ROUTES)
            }
            _ => 1,
        }
    }

    fn open(&self, route: Route) -> RouteChannel {
        let (sender, current) = watch::channel(Current::default());
        let (link, stop) = (self.link.clone(), self.stop.clone());
        let kept_open = keep_open(link, sender, stop, ChannelBackoff::required());
        self.tasks.spawn_on(kept_open, &self.runtime);
        RouteChannel { route, current, bytes: Arc::new(Semaphore::new(MAX_UNCONFIRMED_BYTES)) }
    }
}

impl RouteChannel {
    /// The channel to publish on; none while it is being opened.
    pub(super) fn current(&self) -> Option<ConfirmChannel> {
        self.current.borrow().open().cloned()
    }

    /// Why there is no channel to publish on, if it is known.
    pub(super) fn refusal(&self) -> Option<PublishError> {
        self.current.borrow().refusal.clone()
    }

    /// Waits until there is a channel to publish on, or a reason why there is none.
    pub(super) async fn opened(&self) {
        let is_known = |current: &Current| current.open().is_some() || current.refusal.is_some();
        let _opened_or_ended = self.current.clone().wait_for(is_known).await.is_ok();
    }

    /// Takes the room that a body of this size takes among the unconfirmed messages, if nobody has to wait for room.
    pub(super) fn try_reserve(&self, size: usize) -> Option<OwnedSemaphorePermit> {
        self.bytes.clone().try_acquire_many_owned(permits(size)).ok()
    }

    /// Waits for the room that a body of this size takes among the unconfirmed messages.
    pub(super) async fn reserve(&self, size: usize) -> OwnedSemaphorePermit {
        let permits = self.bytes.clone().acquire_many_owned(permits(size));
        permits.await.expect("it is never closed")
    }

    /// Whether the program is of no use without this route: only messages that have failed take others.
    pub(super) fn is_essential(&self) -> bool {
        let Route { exchange, routing_key } = &self.route;
        let is_to_failed = *exchange == EXCHANGE && routing_key == KEY_FAILED;
        !(exchange.starts_with(RETRY) || is_to_failed)
    }

    /// Whether it leads to the requests of a type.
    pub(super) fn is_of_requests(&self) -> bool {
        let Route { exchange, routing_key } = &self.route;
        let of_type = routing_key.strip_prefix(KEY_REQUEST);
        *exchange == EXCHANGE
            && of_type.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// The route's name for people.
    pub(super) fn name(&self) -> String {
        let Route { exchange, routing_key } = &self.route;
        format!("{exchange} (key {routing_key})")
    }
}

fn permits(size: usize) -> u32 {
    u32::try_from(size.clamp(1, MAX_UNCONFIRMED_BYTES)).unwrap_or(u32::MAX)
}

/// Which of the channels a route has that has none of its own.
fn shared(route: &Route, channels: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    route.hash(&mut hasher);
    usize::try_from(hasher.finish() % channels as u64).unwrap_or(0)
}
