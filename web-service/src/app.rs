//! The web service as a whole: builds its parts, serves, and stops them in order.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use actix_web::{App, HttpServer, dev::Server, web};
use anyhow::{Context, bail};
use pipeline::{
    broker::{Broker, BrokerOptions, Lock},
    log_messages::LISTENING,
    shutdown::Shutdown,
    topology::{self, Topology},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};
use tracing::{info, warn};

use crate::{
    api::{self, state::State},
    config::Config,
    consumers::{batch_consumer, dead_letters::DeadLetterHandler, results::ResultHandler},
    dispatch::Dispatch,
    events::{
        jobs::RunningJobs, listener::EventListener, notifier::Notifier,
        obsolete_work::obsolete_work, retry_recorder::retry_recorder, waiters::Waiters,
    },
    retention,
    webhooks::WebhookLoop,
};
use store::{Store, StoreOptions};

/// The `app_id` of our messages, and part of the names of our connections.
const PROGRAM: &str = "web-service";
/// How long an idle HTTP connection is kept. Longer than clients and load balancers keep theirs, usually a
/// minute: if we close a connection while the other side sends, a request fails that was never read.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a client may take to send the head of a request. Then the HTTP library answers 408 without a body and closes
/// the connection; its default of 5 s is too short for a machine under load.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long closing the broker's connections may take beyond `DRAIN_TIMEOUT`.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The web service, bound to its address and connecting to the broker.
pub struct Application {
    config: Config,
    address: SocketAddr,
    server: Server,
    broker: Arc<Broker>,
    store: Store,
    notifier: Notifier,
    webhooks: WebhookLoop,
    shutdown: Shutdown,
    /// With SQLite only the holder of this lock consumes and records.
    lock: Option<Lock>,
}

impl Application {
    /// Binds the address and begins to connect. Needs a Tokio runtime; neither the broker nor the
    /// store need be there.
    ///
    /// # Errors
    /// If the address can't be bound, or this machine can't send webhooks.
    pub fn build(config: Config, store: Store, shutdown: Shutdown) -> anyhow::Result<Self> {
        let broker = Arc::new(Broker::connect(&BrokerOptions {
            program: PROGRAM,
            addresses: config.broker.addresses.clone(),
            topology: Topology::of_service(),
        }));
        broker.publisher().prepare(topology::EXCHANGE, topology::KEY_REQUEST);
        broker.watch_unreadable();
        let (waiters, jobs) = (Waiters::default(), RunningJobs::default());
        let notifier = Notifier::new(waiters, jobs, broker.event_publisher());
        let needs_lock = config.database_url.expose().starts_with("sqlite:");
        let lock = needs_lock.then(|| broker.lock(topology::WEB_LOCK));
        let webhooks = WebhookLoop::new(
            store.clone(),
            config.webhook_secrets.clone(),
            config.allowed_targets,
            shutdown.drain.clone(),
        )?;
        let dispatch = Dispatch::new(
            broker.publisher(),
            config.publish_timeout,
            store.clone(),
            lock.as_ref().map(Lock::state),
            shutdown.drain.clone(),
        );
        let state = State::new(
            broker.clone(),
            dispatch,
            notifier.clone(),
            config.callback_policy(),
            config.body_limit,
            shutdown.drain.clone(),
        );
        let (address, server) = serve(&config, web::Data::new(state))?;
        Ok(Self { config, address, server, broker, store, notifier, webhooks, shutdown, lock })
    }

    /// The port that was bound.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Serves until told to stop; then answers what is in flight, settles what came from the broker,
    /// waits for the last confirms, and closes.
    ///
    /// # Errors
    /// If the HTTP server or a background task ends by itself.
    pub async fn run_until_stopped(self) -> anyhow::Result<()> {
        let http = self.server.handle();
        let mut tasks = JoinSet::new();
        self.start_event_tasks(&mut tasks);
        self.start_consumers(&mut tasks);
        let Self { config, address, server, broker, shutdown, webhooks, lock, store, .. } = self;
        tasks.spawn(retention::run(store.clone(), config.retention, shutdown.drain.clone()));
        tasks.spawn(webhooks.run());
        let mut serving = tokio::spawn(server);
        info!(%address, "{LISTENING}");
        tokio::select! {
            // First, or a task that ends because it was told to would look like one that failed.
            biased;
            () = shutdown.drain.cancelled() => {}
            ended = &mut serving => ended?.context("the HTTP server ended")?,
            ended = tasks.join_next() => bail!("a background task ended by itself: {ended:?}"),
        }
        let deadline = Instant::now() + config.drain_timeout;
        let drained = async {
            http.stop(true).await;
            while tasks.join_next().await.is_some() {}
        };
        tokio::select! {
            () = drained => info!("nothing is in flight any more"),
            () = shutdown.now.cancelled() => warn!("stopping at once, with work in flight"),
            () = sleep_until(deadline) => warn!("DRAIN_TIMEOUT is over, stopping with work in flight"),
        }
        serving.abort();
        if let Some(lock) = lock {
            lock.release().await;
        }
        close(broker, deadline, &shutdown).await;
        store.close().await;
        Ok(())
    }

    fn start_event_tasks(&self, tasks: &mut JoinSet<()>) {
        let (store, drain) = (&self.store, &self.shutdown.drain);
        let (waiters, jobs) = (&self.notifier.waiters, &self.notifier.jobs);
        let (retries, recorder) = retry_recorder();
        tasks.spawn(recorder.run(store.clone(), jobs.clone(), drain.clone()));
        let (started, obsolete_work) = obsolete_work();
        let event_publisher = || self.broker.event_publisher();
        tasks.spawn(obsolete_work.run(store.clone(), event_publisher(), drain.clone()));
        let listener =
            EventListener::new(waiters.clone(), jobs.clone(), retries, started, event_publisher());
        tasks.spawn(listener.run(self.broker.clone(), drain.clone()));
    }

    fn start_consumers(&self, tasks: &mut JoinSet<()>) {
        let lock = self.lock.as_ref().map(Lock::state);
        let dead_letters = DeadLetterHandler::new(
            &self.broker,
            self.store.clone(),
            self.notifier.clone(),
            lock.clone(),
            self.shutdown.drain.clone(),
        );
        tasks.spawn(batch_consumer::run(dead_letters, self.store.clone(), self.shutdown.clone()));
        let results = ResultHandler {
            broker: self.broker.clone(),
            store: self.store.clone(),
            notifier: self.notifier.clone(),
            lock,
            shutdown: self.shutdown.clone(),
        };
        tasks.spawn(batch_consumer::run(results, self.store.clone(), self.shutdown.clone()));
    }
}

/// Opens the store that `DATABASE_URL` names. The database need not be there.
///
/// # Errors
/// If the URL can't be used.
pub fn open_store(config: &Config) -> Result<Store, String> {
    let options = StoreOptions { timeout: config.publish_timeout, ..StoreOptions::default() };
    Store::open(config.database_url.expose(), &options)
        .map_err(|error| format!("DATABASE_URL=...: {error}"))
}

/// Closes the broker's connections, within what is left of the time.
async fn close(broker: Arc<Broker>, deadline: Instant, shutdown: &Shutdown) {
    let closing = broker.close(deadline.saturating_duration_since(Instant::now()));
    tokio::select! {
        _ = timeout_at(deadline + CLOSE_TIMEOUT, closing) => {}
        () = shutdown.now.cancelled() => {}
    }
}

fn serve(config: &Config, state: web::Data<State>) -> anyhow::Result<(SocketAddr, Server)> {
    let hosts = web::Data::new(config.allowed_hosts());
    let app = move || {
        App::new().app_data(state.clone()).app_data(hosts.clone()).configure(api::configure)
    };
    let server = HttpServer::new(app)
        .workers(worker_threads())
        .disable_signals()
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(HEAD_TIMEOUT)
        // Longer than our own deadline, so that actix has no deadline of its own.
        .shutdown_timeout(config.drain_timeout.as_secs() + 1)
        .bind(config.address)
        .with_context(|| format!("can't listen on HTTP_ADDR={}", config.address))?;
    let address = *server.addrs().first().context("no address was bound")?;
    Ok((address, server.run()))
}

/// The number of HTTP worker threads: half the cores, since the broker's connections need the others.
fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}
