//! Broker: a program's connections to RabbitMQ with its publisher, consumers and locks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::registry::Registry;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Duration, Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::broker::{
    address::Address,
    broadcast::BroadcastConsumer,
    broker_metrics::BrokerMetrics,
    broker_start::BrokerStart,
    consumer::{Consumer, options::Consume},
    declare::Declarer,
    error::NotConnected,
    exclusive_consumer::ExclusiveConsumer,
    link::{Link, LinkOptions, LinkState},
    lock::Lock,
    publisher::{
        self, Publisher, background_publisher::BackgroundPublisher, event_publisher::EventPublisher,
    },
};
use crate::{
    broker::queue_watch::{CountedQueues, QueueWatch},
    health::Part,
    topology::{
        Topology,
        exclusive_queue::{Events, ExclusiveQueue},
        names::UNREADABLE,
    },
};

/// How long closing the connections may take once nothing is pending on them: longer than each takes whose
/// broker does not answer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the broker may take at the end to confirm the last events.
const EVENTS_TIMEOUT: Duration = Duration::from_millis(200);

/// A program's connections to the broker: one to publish and one to consume, so that neither
/// back-pressure nor a loss of the one stops the other. Consumers that may receive messages which
/// break their connection use a [`DedicatedConnection`].
pub struct Broker {
    publish: Link,
    consume: Link,
    publisher: Publisher,
    event_publisher: EventPublisher,
    /// Starts further connections.
    links: Links,
    consumers: Mutex<Vec<Subscription>>,
    dedicated: Mutex<Vec<(&'static str, Link)>>,
    background_publishers: Mutex<Vec<BackgroundPublisher>>,
    queue_watch: QueueWatch,
    stop_publishing: CancellationToken,
    metrics: BrokerMetrics,
    tasks: Mutex<Option<Tasks>>,
}

/// Whether a consumer is subscribed.
struct Subscription {
    queue: String,
    is_subscribed: watch::Receiver<bool>,
    /// Whether it subscribes again as soon as its worker is no longer busy.
    is_finishing: watch::Receiver<bool>,
    /// Whether it is not to be: another request of its process runs in isolation.
    is_paused: Option<watch::Receiver<bool>>,
}

impl Subscription {
    /// Whether it is as it should be, on a link in this state.
    fn is_up(&self, state: &LinkState) -> bool {
        *self.is_subscribed.borrow()
            || self.is_paused.as_ref().is_some_and(|it| *it.borrow())
            || (*self.is_finishing.borrow() && matches!(state, LinkState::Ready(_)))
    }
}

struct Tasks {
    publisher: JoinHandle<()>,
    event_publisher: JoinHandle<()>,
    links: Vec<JoinHandle<()>>,
}

/// What all connections of a program have in common.
struct Links {
    program: &'static str,
    addresses: Vec<Address>,
    topology: Arc<Topology>,
    completing: Arc<tokio::sync::Mutex<()>>,
    metrics: BrokerMetrics,
    stop: CancellationToken,
}

impl Links {
    fn start(&self, role: &'static str) -> (Link, JoinHandle<()>) {
        self.start_as(role, false)
    }

    /// Starts the one connection that keeps idle queues alive, too.
    fn start_renewing(&self, role: &'static str) -> (Link, JoinHandle<()>) {
        self.start_as(role, true)
    }

    fn start_as(&self, role: &'static str, renews: bool) -> (Link, JoinHandle<()>) {
        Link::start(LinkOptions {
            program: self.program,
            name: format!("{} {role} pid {}", self.program, std::process::id()),
            role,
            addresses: self.addresses.clone(),
            topology: self.topology.clone(),
            completing: self.completing.clone(),
            renews,
            metrics: self.metrics.clone(),
            stop: self.stop.clone(),
        })
    }
}

/// Which broker a program connects to, and what must exist there.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// The program's name, shown by the broker beside its connections.
    pub program: &'static str,
    /// The brokers to try in turn; not empty.
    pub addresses: Vec<Address>,
    /// The exchanges and queues that must exist.
    pub topology: Topology,
}

impl Broker {
    /// Begins to connect and returns at once; goes on trying while the broker is unreachable. Needs a
    /// Tokio runtime.
    pub fn connect(options: &BrokerOptions) -> Self {
        let metrics = BrokerMetrics::default();
        let links = Links {
            program: options.program,
            addresses: options.addresses.clone(),
            topology: Arc::new(options.topology.clone()),
            completing: Arc::default(),
            metrics: metrics.clone(),
            stop: CancellationToken::new(),
        };
        let (publish, publish_task) = links.start("publish");
        let (consume, consume_task) = links.start_renewing("consume");
        let stop_publishing = CancellationToken::new();
        let (publisher, publisher_task) =
            Publisher::start(publish.clone(), stop_publishing.clone());
        let (event_publisher, event_publisher_task) =
            EventPublisher::start(publish.clone(), stop_publishing.clone());
        let tasks = Tasks {
            publisher: publisher_task,
            event_publisher: event_publisher_task,
            links: vec![publish_task, consume_task],
        };
        Self {
            publish,
            consume,
            publisher,
            event_publisher,
            consumers: Mutex::default(),
            dedicated: Mutex::default(),
            background_publishers: Mutex::default(),
            queue_watch: QueueWatch::default(),
            links,
            stop_publishing,
            metrics,
            tasks: Mutex::new(Some(tasks)),
        }
    }

    /// The publisher with confirms; clones share its channels.
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// The publisher of events and control messages, which may be lost; clones share one channel.
    pub fn event_publisher(&self) -> EventPublisher {
        self.event_publisher.clone()
    }

    /// A publisher that takes messages without waiting, also while the broker is away, `capacity` of them
    /// at most. [`Self::close`] publishes those that still wait.
    pub fn background_publisher(&self, capacity: usize) -> BackgroundPublisher {
        let publisher = BackgroundPublisher::start(self.publisher(), capacity);
        let mut all = self.background_publishers.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(publisher.clone());
        publisher
    }

    /// Begins to consume messages that every running process receives, on an exclusive queue of this
    /// one; `worker` names the consumer in the log. Readiness doesn't depend on it.
    pub fn consume_exclusively(&self, queue: ExclusiveQueue, worker: &str) -> ExclusiveConsumer {
        ExclusiveConsumer::start(self.consume.clone(), queue, worker)
    }

    /// Begins to consume control messages, and these events. Readiness doesn't depend on this consumer.
    pub fn broadcasts(&self, events: Events) -> BroadcastConsumer {
        BroadcastConsumer::start(self.consume.clone(), events)
    }

    /// Reads which start of the broker this is.
    pub fn start_id(&self) -> BrokerStart {
        BrokerStart::new(self.consume.clone())
    }

    /// Begins to acquire the lock, which is an exclusive queue of this name, once `may_begin` has ended.
    pub fn lock(&self, queue: &str, may_begin: impl Future<Output = ()> + Send + 'static) -> Lock {
        Lock::start(self.consume.clone(), queue, may_begin)
    }

    /// Begins to consume a queue.
    pub fn consume(&self, consume: Consume) -> Consumer {
        let (queue, is_paused) = (consume.queue.clone(), consume.paused.clone());
        let (consumer, is_subscribed) = Consumer::start(self.consume.clone(), consume.into());
        let is_finishing = consumer.finishing();
        self.consumers().push(Subscription { queue, is_subscribed, is_finishing, is_paused });
        consumer
    }

    /// Begins to open another connection, which the log calls `role`. Its loss affects only its own
    /// consumers, and readiness doesn't depend on it.
    pub fn dedicated_connection(&self, role: &'static str) -> DedicatedConnection {
        let (link, task) = self.links.start(role);
        if let Some(tasks) = &mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner) {
            tasks.links.push(task);
        }
        let mut dedicated = self.dedicated.lock().unwrap_or_else(PoisonError::into_inner);
        dedicated.push((role, link.clone()));
        DedicatedConnection(link)
    }

    /// Begins to ask every few seconds how many messages and consumers these queues have. [`Self::health`] reports
    /// messages in `processing.unreadable`, if it is among them.
    pub fn watch_queues(&self, queues: impl IntoIterator<Item: Into<Arc<str>>>) {
        let queues = queues.into_iter().map(Into::into).collect();
        let (link, stop) = (self.consume.clone(), self.links.stop.clone());
        let watching = self.queue_watch.clone().watch(queues, link, stop);
        if let Some(tasks) = &mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner) {
            tasks.links.push(tokio::spawn(watching));
        }
    }

    /// What was counted last in the queues of [`Self::watch_queues`]. It counts as changed each time the broker was asked
    /// about all of them.
    pub fn counted_queues(&self) -> watch::Receiver<CountedQueues> {
        self.queue_watch.counted()
    }

    /// Asks the broker questions, on a channel of the connection that consumes.
    ///
    /// # Errors
    /// If there is no connection, or too few channels are left on it.
    pub fn declarer(&self) -> Result<Declarer, NotConnected> {
        match self.consume.state() {
            LinkState::Ready(session) if session.channels_run_short() => {
                Err(NotConnected("too few channels are left on the connection".to_owned()))
            }
            LinkState::Ready(session) => Ok(Declarer::on(session)),
            LinkState::Away(reason) | LinkState::Incomplete(reason) => Err(NotConnected(reason)),
        }
    }

    /// Adds the metrics of the connections to a registry. [`Self::update_metrics`] sets those that are not counted.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Sets the metrics that tell the present state.
    pub fn update_metrics(&self) {
        let dedicated = self.dedicated.lock().unwrap_or_else(PoisonError::into_inner);
        let links = [("publish", &self.publish), ("consume", &self.consume)];
        let links = links.into_iter().chain(dedicated.iter().map(|(role, link)| (*role, link)));
        for (role, link) in links {
            self.metrics.set_up(role, matches!(link.state(), LinkState::Ready(_)));
        }
        let (mut queues, state) = (BTreeMap::new(), self.consume.state());
        for consumer in &*self.consumers() {
            *queues.entry(consumer.queue.clone()).or_insert(true) &= consumer.is_up(&state);
        }
        for (queue, is_up) in queues {
            self.metrics.set_consumer_up(&queue, is_up);
        }
        self.metrics.set_blocked(self.publisher.blocked_for().is_some());
    }

    /// The state of the connections: the parts `broker.publish`, `broker.consume` and `topology`.
    pub fn health(&self) -> [(&'static str, Part); 3] {
        let (publish, consume) = (self.publish.state(), self.consume.state());
        [
            ("broker.publish", self.publishing(&publish)),
            ("broker.consume", self.consuming(&consume)),
            ("topology", self.topology(&publish, &consume)),
        ]
    }

    fn topology(&self, publish: &LinkState, consume: &LinkState) -> Part {
        let part = declared(publish, consume);
        match self.queue_watch.unreadable() {
            Some(count) if part.ok => Part::ok(format!(
                "{}; {UNREADABLE} holds messages that no program could receive: {count}",
                part.detail
            )),
            _ => part,
        }
    }

    fn publishing(&self, state: &LinkState) -> Part {
        match (state, self.publisher.blocked_for(), self.publisher.closed()) {
            (LinkState::Away(reason), ..) => Part::missing(reason.clone()),
            (_, Some(age), _) => {
                let routes = self.publisher.blocked_routes().join(", ");
                Part::missing(format!("{} (published to {routes})", publisher::blocked(age)))
            }
            (LinkState::Ready(_), None, Some(reason)) => Part::missing(reason),
            _ => match self.publisher.blocked_routes() {
                routes if routes.is_empty() => Part::ok("connected"),
                routes => Part::ok(format!(
                    "connected; the broker confirms nothing that is published to {}",
                    routes.join(", ")
                )),
            },
        }
    }

    fn consuming(&self, state: &LinkState) -> Part {
        if let LinkState::Away(reason) = state {
            return Part::missing(reason.clone());
        }
        let consumers = self.consumers();
        let subscribed = consumers.iter().filter(|consumer| consumer.is_up(state)).count();
        let detail = format!("{subscribed} of {} consumers are subscribed", consumers.len());
        if subscribed == consumers.len() { Part::ok(detail) } else { Part::missing(detail) }
    }

    /// Whether each consumer is subscribed. Closed consumers don't count.
    fn consumers(&self) -> MutexGuard<'_, Vec<Subscription>> {
        let mut consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        // The consumer owns the sender.
        consumers.retain(|consumer| consumer.is_subscribed.has_changed().is_ok());
        consumers
    }

    /// Publishes what waits in background publishers and waits for outstanding confirms, `confirm_timeout`
    /// at most, then closes all connections. All consumers and locks must have been closed before.
    pub async fn close(&self, confirm_timeout: Duration) {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Tasks { publisher, event_publisher, links }) = tasks else { return };
        let deadline = Instant::now() + confirm_timeout;
        let waiting = std::mem::take(
            &mut *self.background_publishers.lock().unwrap_or_else(PoisonError::into_inner),
        );
        for publisher in waiting {
            publisher.close(deadline).await;
        }
        self.stop_publishing.cancel();
        if timeout_at(deadline, publisher).await.is_err() {
            tracing::warn!("closed with unconfirmed messages");
        }
        let _out_or_late = timeout(EVENTS_TIMEOUT, event_publisher).await;
        self.links.stop.cancel();
        // They close at the same time.
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        for link in links {
            let _closed_or_late = timeout_at(deadline, link).await;
        }
    }
}

/// A connection for consumers whose messages may break it. It is closed with the others.
pub struct DedicatedConnection(Link);

impl DedicatedConnection {
    /// Begins to consume a queue.
    pub fn consume(&self, consume: Consume) -> Consumer {
        Consumer::start(self.0.clone(), consume.into()).0
    }
}

fn declared(publish: &LinkState, consume: &LinkState) -> Part {
    match (publish, consume) {
        (LinkState::Incomplete(missing), _) | (_, LinkState::Incomplete(missing)) => {
            Part::missing(missing.clone())
        }
        (LinkState::Away(_), LinkState::Away(_)) => {
            Part::missing("not known while the broker is away")
        }
        _ => Part::ok("declared"),
    }
}
