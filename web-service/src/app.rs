//! The web service as a whole: builds its parts, serves, and stops them in order.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::{App, HttpServer, dev::Server, web};
use anyhow::{Context, bail};
use pipeline::{
    broker::{Broker, BrokerOptions, Lock},
    log_messages::LISTENING,
    shutdown::Shutdown,
    topology::{self, Events, RequestType, Topology},
};
use tokio::{
    net::TcpSocket,
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};
use tracing::{info, warn};

use crate::{
    api::{
        self, http::calls_in_flight::CallsInFlight, requests::submission_rules::SubmissionRules,
        state::State,
    },
    bulk_driver,
    config::Config,
    consumers::{batch_consumer, dead_letters::DeadLetterHandler, results::ResultHandler},
    dashboard,
    dispatch::{Dispatch, availability},
    doctor::Doctor,
    events::{
        jobs::RunningJobs, listener::EventListener, notifier::Notifier,
        obsolete_work::obsolete_work, retry_recorder::retry_recorder, waiters::Waiters,
        worker_watch::WorkerWatch,
    },
    http_server,
    metrics::Metrics,
    retention,
    verify::Verifier,
    webhooks::WebhookLoop,
};
use store::{Store, StoreOptions};

/// The `app_id` of our messages, and part of the names of our connections.
const PROGRAM: &str = "web-service";
/// The queues whose numbers are shown, beside those of requests.
const WATCHED_QUEUES: [&str; 3] = [topology::RESULTS, topology::FAILED, topology::UNREADABLE];
/// How long an idle HTTP connection is kept. Longer than clients and load balancers keep theirs, usually a
/// minute: if we close a connection while the other side sends, a request fails that was never read.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a client may take to send the head of a request. Then the HTTP library answers 408 without a body and closes
/// the connection; its default of 5 s is too short for a machine under load.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How many connections may wait to be accepted.
const BACKLOG: u32 = 2048;
/// How long closing the broker's connections may take beyond `DRAIN_TIMEOUT`.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// What looks after the system when somebody asks.
struct Care {
    verifier: web::Data<Verifier>,
    doctor: web::Data<Doctor>,
}

/// The web service, bound to its address and connecting to the broker.
pub struct Application {
    config: Config,
    address: SocketAddr,
    server: Server,
    calls: CallsInFlight,
    workers: WorkerWatch,
    broker: Arc<Broker>,
    store: Store,
    notifier: Notifier,
    webhooks: WebhookLoop,
    shutdown: Shutdown,
    /// With SQLite only the holder of this lock consumes and records.
    lock: Option<Lock>,
    state: web::Data<State>,
}

impl Application {
    /// Begins to connect. Needs a Tokio runtime; neither the broker nor the store need be there.
    ///
    /// # Errors
    /// If the listener can't be used, or this machine can't send webhooks.
    pub fn build(
        config: Config,
        listener: TcpListener,
        store: Store,
        shutdown: Shutdown,
    ) -> anyhow::Result<Self> {
        let broker = Arc::new(Broker::connect(&BrokerOptions {
            program: PROGRAM,
            addresses: config.broker.addresses.clone(),
            topology: Topology::of_service(&config.types),
        }));
        for request_type in config.types.iter() {
            broker.publisher().prepare(topology::EXCHANGE, &request_type.routing_key());
        }
        let of_requests = config.types.iter().map(RequestType::queue);
        broker.watch_queues(of_requests.chain(WATCHED_QUEUES.map(str::to_owned)));
        let workers = WorkerWatch::new(broker.counted_queues(), config.types.clone());
        let (waiters, jobs) = (Waiters::default(), RunningJobs::default());
        let metrics = Metrics::new(PROGRAM, &broker, &store, &config.types);
        let notifier = Notifier::new(waiters, jobs, broker.event_publisher(), metrics.clone());
        let needs_lock = config.database_url.expose().starts_with("sqlite:");
        let lock = needs_lock.then(|| broker.lock(topology::WEB_LOCK, opened(store.clone())));
        let webhooks = WebhookLoop::new(
            store.clone(),
            config.webhook_secrets.clone(),
            config.allowed_targets,
            metrics.clone(),
            shutdown.drain.clone(),
        )?;
        let dispatch = Dispatch::new(
            broker.publisher(),
            config.types.clone(),
            config.publish_timeout,
            store.clone(),
            lock.as_ref().map(Lock::state),
            shutdown.drain.clone(),
            metrics,
        );
        let state = State::new(
            broker.clone(),
            workers.clone(),
            dispatch,
            notifier.clone(),
            SubmissionRules { callbacks: config.callback_policy(), types: config.types.clone() },
            config.body_limit,
            shutdown.drain.clone(),
        );
        let jobs = notifier.jobs.clone();
        let settings = config.doctor_settings();
        let doctor = Doctor::new(broker.clone(), store.clone(), jobs.clone(), settings);
        let verifier =
            Verifier::new(broker.clone(), store.clone(), jobs, &config.types, &config.retry_delays);
        let care = Care { verifier: web::Data::new(verifier), doctor: web::Data::new(doctor) };
        let (address, calls) = (listener.local_addr()?, CallsInFlight::default());
        let state = web::Data::new(state);
        let server = serve(&config, listener, state.clone(), care, calls.clone())?;
        Ok(Self {
            config,
            address,
            server,
            calls,
            workers,
            broker,
            store,
            notifier,
            webhooks,
            shutdown,
            lock,
            state,
        })
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
        let Self {
            config,
            server,
            calls,
            workers,
            broker,
            shutdown,
            webhooks,
            lock,
            store,
            state,
            ..
        } = self;
        let lock_state = lock.as_ref().map(Lock::state);
        tasks.spawn(availability::warn_of_others(lock_state, shutdown.drain.clone()));
        tasks.spawn(workers.log_changes(shutdown.drain.clone()));
        tasks.spawn(retention::run(store.clone(), config.retention, shutdown.drain.clone()));
        tasks.spawn(webhooks.run());
        tasks.spawn(bulk_driver::run(state.into_inner()));
        let mut serving = tokio::spawn(http_server::run(server));
        tokio::select! {
            // First, or a task that ends because it was told to would look like one that failed.
            biased;
            () = shutdown.drain.cancelled() => {}
            ended = &mut serving => ended?.context("the HTTP server ended")?,
            ended = tasks.join_next() => bail!("a background task ended by itself: {ended:?}"),
        }
        info!("{}", stopping(calls.count(), config.drain_timeout, &shutdown));
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
        // With a lock this is the only web service: nobody else commits to the store.
        let events = if self.lock.is_some() { Events::OfWorkers } else { Events::All };
        tasks.spawn(listener.run(self.broker.clone(), events, drain.clone()));
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
            metrics: self.state.dispatch.metrics.clone(),
            lock,
            shutdown: self.shutdown.clone(),
        };
        tasks.spawn(batch_consumer::run(results, self.store.clone(), self.shutdown.clone()));
    }
}

/// Binds the address, and logs it: the first line of the log. Calls are answered once the service is built.
///
/// # Errors
/// If the address can't be bound.
pub fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bind = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    let listener = bind().with_context(|| format!("can't listen on HTTP_ADDR={address}"))?;
    let address = listener.local_addr()?;
    let url = url(address);
    info!(%address, url, docs = format!("{url}/docs"), "{LISTENING}");
    Ok(listener)
}

/// Where a person on this machine finds the service.
fn url(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("http://{address}")
}

/// Opens the store that `DATABASE_URL` names. The database need not be there.
///
/// # Errors
/// If the URL can't be used.
pub fn open_store(config: &Config) -> anyhow::Result<Store> {
    let options = StoreOptions {
        timeout: config.publish_timeout,
        locks_file: true,
        ..StoreOptions::default()
    };
    Store::open(config.database_url.expose(), &options).context("DATABASE_URL can't be used")
}

/// Waits until the store is open: then its file is not used by another web service.
async fn opened(store: Store) {
    store.until_up().await;
}

/// What the service does now that it was told to stop.
fn stopping(calls: usize, limit: Duration, shutdown: &Shutdown) -> String {
    let calls = match calls {
        0 => "no calls are in flight: storing what has come from the broker".to_owned(),
        1 => "answering 1 call".to_owned(),
        calls => format!("answering {calls} calls"),
    };
    format!("{calls}, up to {limit:?}{}", shutdown.how_to_hurry("to stop now"))
}

/// Closes the broker's connections, within what is left of the time.
async fn close(broker: Arc<Broker>, deadline: Instant, shutdown: &Shutdown) {
    let closing = broker.close(deadline.saturating_duration_since(Instant::now()));
    tokio::select! {
        _ = timeout_at(deadline + CLOSE_TIMEOUT, closing) => {}
        () = shutdown.now.cancelled() => {}
    }
}

fn serve(
    config: &Config,
    listener: TcpListener,
    state: web::Data<State>,
    care: Care,
    calls: CallsInFlight,
) -> anyhow::Result<Server> {
    let (hosts, calls) = (web::Data::new(config.allowed_hosts()), web::Data::new(calls));
    let app = move || {
        let app = App::new().app_data(state.clone());
        let app = app.app_data(care.verifier.clone()).app_data(care.doctor.clone());
        let app = app.app_data(hosts.clone()).app_data(calls.clone());
        app.configure(|config| api::configure(config, dashboard::resources(), dashboard::missing()))
    };
    let server = HttpServer::new(app)
        .workers(worker_threads())
        .disable_signals()
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(HEAD_TIMEOUT)
        .on_connect(http_server::probe_client)
        // Longer than our own deadline, so that actix has no deadline of its own.
        .shutdown_timeout(config.drain_timeout.as_secs() + 1)
        .listen(listener)
        .context("the HTTP server can't use the address")?;
    Ok(server.run())
}

/// The number of HTTP worker threads: half the cores, since the broker's connections need the others.
fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_led_to_an_address_that_can_be_opened() {
        let url = |address: &str| url(address.parse().unwrap());
        assert_eq!(url("127.0.0.1:3000"), "http://127.0.0.1:3000");
        assert_eq!(url("0.0.0.0:80"), "http://127.0.0.1:80");
        assert_eq!(url("[::]:3000"), "http://[::1]:3000");
    }

    #[test]
    fn a_stop_names_how_many_calls_are_answered_first() {
        let of = |calls| stopping(calls, Duration::from_secs(25), &Shutdown::default());
        assert_eq!(of(1), "answering 1 call, up to 25s");
        assert_eq!(of(3), "answering 3 calls, up to 25s");
        assert!(of(0).starts_with("no calls are in flight"));
    }
}
