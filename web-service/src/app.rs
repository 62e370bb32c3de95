//! The web service as a whole: what it is made of, and in which order it starts and stops.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use actix_web::{App, HttpServer, dev::Server, web};
use anyhow::{Context, bail};
use pipeline::{
    broker::{Broker, BrokerOptions},
    shutdown::Shutdown,
    topology::{self, Topology},
};
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use crate::{
    api,
    config::Config,
    results,
    state::{NAME, State},
};

/// How many results the broker may have on their way to us.
const RESULTS_PREFETCH: u16 = 250;

/// How long an idle connection is kept. Longer than clients and load balancers keep theirs, usually
/// a minute: the one who closes while the other sends makes a request fail that was never read.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The web service, bound to its address and connecting to the broker.
pub struct Application {
    config: Config,
    address: SocketAddr,
    server: Server,
    broker: Arc<Broker>,
}

impl Application {
    /// Binds the address and begins to connect. Needs a Tokio runtime; the broker need not be there.
    ///
    /// # Errors
    /// If the address can't be bound.
    pub fn build(config: Config) -> anyhow::Result<Self> {
        let broker = Arc::new(Broker::connect(&BrokerOptions {
            program: NAME,
            addresses: config.broker.addresses.clone(),
            topology: Topology::default(),
        }));
        let state = web::Data::new(State::new(broker.clone(), config.publish_timeout));
        let (address, server) = serve(&config, state)?;
        Ok(Self { config, address, server, broker })
    }

    /// The port that was bound.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Serves until told to stop; then answers what is in flight, settles the results in hand,
    /// waits for the last confirms, and closes.
    ///
    /// # Errors
    /// If the server ends by itself.
    pub async fn run_until_stopped(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let Self { config, address, server, broker } = self;
        let http = server.handle();
        let mut serving = tokio::spawn(server);
        info!(%address, "listening");
        let consumer = broker.consume(topology::RESULTS, RESULTS_PREFETCH, "results");
        let results = results::Receiver::new(broker.publisher(), shutdown.clone());
        let mut receiving = tokio::spawn(results.run(consumer));
        tokio::select! {
            // First, or a receiver that ends because it was told to would look like one that broke.
            biased;
            () = shutdown.drain.cancelled() => {}
            ended = &mut serving => ended?.context("the HTTP server ended")?,
            ended = &mut receiving => bail!("the receiver of results ended by itself: {ended:?}"),
        }
        let deadline = Instant::now() + config.drain_timeout;
        let stopped = async {
            http.stop(true).await;
            let _ended = receiving.await;
        };
        tokio::select! {
            () = stopped => info!("nothing is in hand any more"),
            () = shutdown.now.cancelled() => warn!("stopping with work in hand"),
            () = tokio::time::sleep_until(deadline) => warn!("the time to stop is over, work is still in hand"),
        }
        serving.abort();
        close(broker, deadline, &shutdown).await;
        Ok(())
    }
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
    let body_limit = config.body_limit;
    let server = HttpServer::new(move || {
        App::new().app_data(state.clone()).configure(|routes| api::routes(routes, body_limit))
    })
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
