//! The stage of a check: the worker behind its tap, and the part of the web service, which publishes requests and
//! receives results.

use std::{
    pin::pin,
    process::ExitStatus,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, anyhow};
use pipeline::{
    broker::{Address, AskError, Broker, BrokerOptions, Consume, Declarer},
    contract::{Message, Properties},
    topology::{self, RequestType, RequestTypes, RetryDelays, Topology},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use super::{tap::Tap, trace::Trace, worker::Worker};
use crate::exit::Failure;

const PROGRAM: &str = "slowlane-conformance";
/// How long the broker may take to answer.
const BROKER_TIMEOUT: Duration = Duration::from_secs(10);
const PREFETCH: u16 = 50;
/// When nothing has come for this long, the queue is asked whether it is empty.
const QUIET_TIME: Duration = Duration::from_millis(300);

/// A message that came from the worker.
#[derive(Debug, Clone)]
pub(super) struct Arrived {
    /// From which queue: of results, or of failed requests.
    pub(super) queue: &'static str,
    pub(super) properties: Properties,
    pub(super) body: Vec<u8>,
}

/// Why what was waited for did not happen.
#[derive(Debug, Clone, Copy)]
pub(super) enum Silence {
    TimedOut(Duration),
    /// The worker ended before.
    Ended(ExitStatus),
}

/// Everything that takes part.
pub(super) struct Stage {
    broker: Broker,
    declarer: Declarer,
    pub(super) tap: Tap,
    pub(super) worker: Worker,
    /// The type of the requests.
    kind: RequestType,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    news: watch::Receiver<()>,
    timeout: Duration,
    _receiving: JoinSet<()>,
}

impl Silence {
    /// What to say of it, behind "it".
    pub(super) fn text(self) -> String {
        match self {
            Self::TimedOut(after) => format!("did not within {after:?}"),
            Self::Ended(status) => format!("ended with {status}"),
        }
    }
}

impl Stage {
    /// Declares what is missing in the virtual host, and starts the worker.
    ///
    /// # Errors
    /// If the broker can't be used, something else uses the virtual host, or the worker can't be started.
    pub(super) async fn set_up(
        address: &Address,
        command: Vec<String>,
        kind: RequestType,
        delays: &RetryDelays,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        if address.tls {
            let text = "the worker's connections are watched, so the broker's URL must begin with amqp://, not amqps://";
            return Err(Failure::Usage(text.to_owned()));
        }
        let connecting = Declarer::connect(address, PROGRAM);
        let connected = tokio::time::timeout(BROKER_TIMEOUT, connecting).await;
        let connected = connected.context("the broker does not answer")?;
        let mut declarer = connected.with_context(|| format!("{address} can't be used"))?;
        let topology = Topology::of_service(&types(&kind));
        declare(&mut declarer, &topology).await?;
        check_unused(&mut declarer, &kind.queue(), delays).await?;
        let (told, news) = watch::channel(());
        let tap = Tap::start(address.host_and_port(), told.clone()).await;
        let tap = tap.context("the worker's connections can't be watched")?;
        let broker = Broker::connect(&BrokerOptions {
            program: PROGRAM,
            addresses: vec![address.clone()],
            topology,
        });
        let arrived = Arc::default();
        let receiving = receive(&broker, &arrived, &told);
        let worker = Worker::start(command.clone(), address.url_through(tap.port()), &kind);
        let worker = worker.with_context(|| format!("{:?} can't be started", command.join(" ")))?;
        Ok(Self {
            broker,
            declarer,
            tap,
            worker,
            kind,
            arrived,
            news,
            timeout,
            _receiving: receiving,
        })
    }

    /// Publishes a request as another program would, or what is none.
    ///
    /// # Errors
    /// If the broker does not confirm it.
    pub(super) async fn publish(&self, properties: Properties, body: &[u8]) -> Result<(), Failure> {
        let message = Message {
            exchange: topology::EXCHANGE.into(),
            routing_key: self.kind.routing_key(),
            properties,
            body: body.to_vec(),
        };
        let deadline = Instant::now() + BROKER_TIMEOUT;
        let published = self.broker.publisher().publish_once_possible(message, deadline).await;
        Ok(published.context("a request could not be published")?)
    }

    /// The type of the requests.
    pub(super) fn kind(&self) -> &RequestType {
        &self.kind
    }

    /// The queue of the requests.
    pub(super) fn queue(&self) -> String {
        self.kind.queue()
    }

    /// Waits until what was seen, or what has arrived, answers the question; or until the worker has ended.
    pub(super) async fn until<T>(
        &mut self,
        mut answer: impl FnMut(&Trace, &[Arrived]) -> Option<T>,
    ) -> Result<T, Silence> {
        let limit = self.timeout;
        let mut is_over = pin!(tokio::time::sleep(limit));
        let mut has_ended = None;
        loop {
            self.news.mark_unchanged();
            let found = answer(&self.tap.trace(), &self.arrived());
            match (found, has_ended) {
                (Some(found), _) => return Ok(found),
                (None, Some(status)) => return Err(Silence::Ended(status)),
                (None, None) => {}
            }
            tokio::select! {
                _ = self.news.changed() => {}
                // What it has sent before may be on its way.
                Ok(status) = self.worker.ended() => {
                    let _news = timeout(Duration::from_millis(500), self.news.changed()).await;
                    has_ended = Some(status);
                }
                () = &mut is_over => return Err(Silence::TimedOut(limit)),
            }
        }
    }

    /// The same for a short time, in which it is to be seen whether something happens that should not.
    pub(super) async fn within<T>(
        &mut self,
        limit: Duration,
        mut answer: impl FnMut(&Trace, &[Arrived]) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + limit;
        loop {
            self.news.mark_unchanged();
            let found = answer(&self.tap.trace(), &self.arrived());
            if found.is_some() || timeout_at(deadline, self.news.changed()).await.is_err() {
                return found;
            }
        }
    }

    /// How much was seen so far.
    pub(super) fn now(&self) -> usize {
        self.tap.trace().0.len()
    }

    /// Kills the worker, and takes what it has left in the queue of requests: all of it is of this check.
    ///
    /// # Errors
    /// If something is left after [`BROKER_TIMEOUT`].
    pub(super) async fn clear(&mut self) -> Result<(), Failure> {
        self.worker.kill().await;
        let queue = self.queue();
        let deadline = Instant::now() + BROKER_TIMEOUT;
        while !self.is_cleared(&queue, deadline).await {
            if Instant::now() > deadline {
                Err(anyhow!(
                    "{queue} still has messages or a consumer {BROKER_TIMEOUT:?} after the worker was killed"
                ))?;
            }
        }
        Ok(())
    }

    /// The same, and starts the worker again.
    ///
    /// # Errors
    /// If something is left, or the worker can't be started.
    pub(super) async fn start_over(&mut self) -> Result<(), Failure> {
        self.clear().await?;
        Ok(self.worker.start_again().await.map_err(anyhow::Error::new)?)
    }

    /// Takes what waits in the queue, and tells whether nothing and nobody is left there: what the worker had comes back
    /// when the broker takes away its consumers.
    async fn is_cleared(&mut self, queue: &str, deadline: Instant) -> bool {
        let mut consumer = self.broker.consume(Consume::queue(queue, PREFETCH, PROGRAM));
        loop {
            while let Ok(Some(delivery)) = timeout(QUIET_TIME, consumer.next()).await {
                delivery.ack();
            }
            let counts = self.declarer.queue_counts(queue).await;
            if counts.is_ok_and(|it| it.waiting == 0) || Instant::now() > deadline {
                break;
            }
        }
        consumer.close().await;
        let counts = self.declarer.queue_counts(queue).await;
        counts.is_ok_and(|it| it.waiting == 0 && it.consumers == 0)
    }

    /// Ends everything.
    pub(super) async fn tear_down(mut self) {
        let _cleared_or_late = self.clear().await;
        self.broker.close(BROKER_TIMEOUT).await;
    }

    fn arrived(&self) -> MutexGuard<'_, Vec<Arrived>> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn types(kind: &RequestType) -> RequestTypes {
    RequestTypes::new([kind.clone()]).unwrap_or_default()
}

async fn declare(declarer: &mut Declarer, topology: &Topology) -> Result<(), Failure> {
    let Topology { exchanges, queues, .. } = topology;
    let declared = async {
        for exchange in exchanges {
            if !declarer.exchange_exists(exchange).await? {
                declarer.declare_exchange(exchange).await?;
            }
        }
        for queue in queues {
            if !declarer.queue_exists(queue).await? {
                declarer.declare_queue(queue).await?;
            }
            for binding in &queue.bindings {
                declarer.bind(&queue.name, binding).await?;
            }
        }
        anyhow::Ok(())
    };
    Ok(declared.await.context("the exchanges and queues can't be declared")?)
}

/// Nothing else may use the virtual host: its requests would go to the worker, those that wait for their next attempt, too,
/// and its web service would take the results.
async fn check_unused(
    declarer: &mut Declarer,
    requests: &str,
    delays: &RetryDelays,
) -> Result<(), Failure> {
    let deadline = Instant::now() + BROKER_TIMEOUT;
    let queues = [requests, topology::RESULTS, topology::FAILED].map(str::to_owned);
    let waiting = delays.steps().into_iter().map(topology::retry);
    for queue in queues.into_iter().chain(waiting) {
        let mut counts = declarer.queue_counts(&queue).await;
        while counts == Err(AskError::NotCounted) && Instant::now() < deadline {
            counts = declarer.queue_counts(&queue).await;
        }
        // No program has declared this waiting queue.
        if counts.as_ref().is_err_and(AskError::is_not_found) {
            continue;
        }
        let counts = counts.map_err(|error| anyhow!("{queue} can't be counted: {error}"))?;
        if counts.waiting > 0 || counts.consumers > 0 {
            let (messages, consumers) = (counts.waiting, counts.consumers);
            return Err(Failure::Usage(format!(
                "{queue} has {messages} messages and {consumers} consumers: the check needs a virtual host that nothing else uses"
            )));
        }
    }
    Ok(())
}

/// Receives results and failed requests.
fn receive(
    broker: &Broker,
    arrived: &Arc<Mutex<Vec<Arrived>>>,
    told: &watch::Sender<()>,
) -> JoinSet<()> {
    let mut receiving = JoinSet::new();
    for queue in [topology::RESULTS, topology::FAILED] {
        let mut consumer = broker.consume(Consume::queue(queue, PREFETCH, PROGRAM));
        let (arrived, told) = (arrived.clone(), told.clone());
        receiving.spawn(async move {
            while let Some(delivery) = consumer.next().await {
                let (properties, body) = (delivery.properties.clone(), delivery.body.clone());
                let message = Arrived { queue, properties, body };
                arrived.lock().unwrap_or_else(PoisonError::into_inner).push(message);
                told.send_replace(());
                delivery.ack();
            }
        });
    }
    receiving
}
