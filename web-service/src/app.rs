//! The web service as a whole: what it is made of, and in which order it starts and stops.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use actix_web::{App, HttpServer, dev::Server, web};
use anyhow::{Context, bail};
use pipeline::{
    broker::{Broker, BrokerOptions, Lock},
    shutdown::Shutdown,
    topology::{self, Topology},
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tracing::{info, warn};

use crate::{
    api::{self, state::State},
    config::Config,
    consumers::{batch_consumer, dead_letters::Failed, results::Results},
    dispatch::Dispatch,
    events::{
        jobs::Jobs, listener::Hearing, notifier::News, obsolete_work, retry_recorder,
        waiters::Waiters,
    },
    retention,
    webhooks::Callbacks,
};
use store::{Store, StoreOptions};

/// The name under which the broker knows this program.
const PROGRAM: &str = "web-service";
/// How long an idle connection is kept. Longer than clients and load balancers keep theirs, usually
/// a minute: the one who closes while the other sends makes a request fail that was never read.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The web service, bound to its address and connecting to the broker.
pub struct Application {
    config: Config,
    address: SocketAddr,
    server: Server,
    broker: Arc<Broker>,
    store: Store,
    news: News,
    shutdown: Shutdown,
    callbacks: Callbacks,
    /// Where only one web service may take results.
    lock: Option<Lock>,
}

impl Application {
    /// Binds the address and begins to connect. Needs a Tokio runtime; neither the broker nor the
    /// store need be there.
    ///
    /// # Errors
    /// If the address can't be bound, or callbacks can't be sent from here.
    pub fn build(config: Config, store: Store, shutdown: Shutdown) -> anyhow::Result<Self> {
        let broker = Arc::new(Broker::connect(&BrokerOptions {
            program: PROGRAM,
            addresses: config.broker.addresses.clone(),
            topology: Topology::default(),
        }));
        let (waiters, jobs) = (Waiters::default(), Jobs::default());
        let news = News { waiters, jobs, event_publisher: broker.event_publisher() };
        let alone = config.database_url.expose().starts_with("sqlite:");
        let lock = alone.then(|| broker.lock(topology::WEB_LOCK));
        let dispatch = Dispatch::new(
            broker.publisher(),
            config.publish_timeout,
            store.clone(),
            lock.as_ref().map(Lock::state),
            shutdown.drain.clone(),
        );
        let state = web::Data::new(State::new(
            broker.clone(),
            dispatch,
            news.clone(),
            config.callback_rules(),
            config.body_limit,
            shutdown.drain.clone(),
        ));
        let secrets = config.webhook_secrets.clone();
        let callbacks =
            Callbacks::new(store.clone(), secrets, config.reach, shutdown.drain.clone())?;
        let (address, server) = serve(&config, state)?;
        Ok(Self { config, address, server, broker, store, news, shutdown, callbacks, lock })
    }

    /// The port that was bound.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Serves until told to stop; then answers what is in flight, settles what came from the broker,
    /// waits for the last confirms, and closes.
    ///
    /// # Errors
    /// If the server or a receiver ends by itself.
    pub async fn run_until_stopped(self) -> anyhow::Result<()> {
        let http = self.server.handle();
        let mut receivers = self.start_receivers();
        let Self { config, address, server, broker, shutdown, callbacks, lock, store, .. } = self;
        receivers.spawn(callbacks.run());
        let mut serving = tokio::spawn(server);
        info!(%address, "listening");
        tokio::select! {
            // First, or a receiver that ends because it was told to would look like one that broke.
            biased;
            () = shutdown.drain.cancelled() => {}
            ended = &mut serving => ended?.context("the HTTP server ended")?,
            ended = receivers.join_next() => bail!("a receiver ended by itself: {ended:?}"),
        }
        let deadline = Instant::now() + config.drain_timeout;
        let stopped = async {
            http.stop(true).await;
            while receivers.join_next().await.is_some() {}
        };
        tokio::select! {
            () = stopped => info!("nothing is in hand any more"),
            () = shutdown.now.cancelled() => warn!("stopping with work in hand"),
            () = tokio::time::sleep_until(deadline) => warn!("the time to stop is over, work is still in hand"),
        }
        serving.abort();
        if let Some(lock) = lock {
            lock.release().await;
        }
        close(broker, deadline, &shutdown).await;
        store.close().await;
        Ok(())
    }

    fn start_receivers(&self) -> JoinSet<()> {
        let (broker, store) = (self.broker.clone(), self.store.clone());
        let shutdown = self.shutdown.clone();
        let drain = shutdown.drain.clone();
        let (news, jobs) = (self.news.clone(), self.news.jobs.clone());
        let lock = self.lock.as_ref().map(Lock::state);
        let mut receivers = JoinSet::new();
        receivers.spawn(retention::run(store.clone(), self.config.retention, drain.clone()));
        let (retries, notes) = retry_recorder::retries();
        receivers.spawn(notes.run(store.clone(), jobs.clone(), drain.clone()));
        let (begun, watch) = obsolete_work::needless();
        receivers.spawn(watch.run(store.clone(), broker.event_publisher(), drain.clone()));
        let hearing =
            Hearing::new(news.waiters.clone(), jobs, retries, begun, broker.event_publisher());
        receivers.spawn(hearing.run(broker.clone(), drain.clone()));
        let failed = Failed {
            apart: broker.dedicated_connection("failed"),
            store: store.clone(),
            news: news.clone(),
            lock: lock.clone(),
            drain,
        };
        receivers.spawn(batch_consumer::run(failed, store.clone(), shutdown.clone()));
        let results =
            Results { broker, store: store.clone(), news, lock, shutdown: shutdown.clone() };
        receivers.spawn(batch_consumer::run(results, store, shutdown));
        receivers
    }
}

/// Opens the store that `DATABASE_URL` names. It need not be there.
///
/// # Errors
/// If the URL is of no use.
pub fn open_store(config: &Config) -> Result<Store, String> {
    let options = StoreOptions { patience: config.publish_timeout };
    Store::open(config.database_url.expose(), &options)
        .map_err(|error| format!("DATABASE_URL=...: {error}"))
}

/// Closes the link, within what is left of the time.
async fn close(broker: Arc<Broker>, deadline: Instant, shutdown: &Shutdown) {
    let closing = broker.close(deadline.saturating_duration_since(Instant::now()));
    tokio::select! {
        _ = timeout_at(deadline + Duration::from_secs(3), closing) => {}
        () = shutdown.now.cancelled() => {}
    }
}

fn serve(config: &Config, state: web::Data<State>) -> anyhow::Result<(SocketAddr, Server)> {
    let server = HttpServer::new(move || App::new().app_data(state.clone()).configure(api::routes))
        .workers(workers())
        .disable_signals()
        .keep_alive(KEEP_ALIVE)
        // Our own deadline ends the wait before; this only says that actix is not to have another.
        .shutdown_timeout(config.drain_timeout.as_secs() + 1)
        .bind(config.address)
        .with_context(|| format!("can't listen on HTTP_ADDR={}", config.address))?;
    let address = *server.addrs().first().context("no address was bound")?;
    Ok((address, server.run()))
}

/// Half the cores: the others are busy with the broker's connections.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}
