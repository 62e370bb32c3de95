//! Service: an HTTP server, the relay of the outbox and a consumer around one database, until it is told to stop.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use actix_web::{
    App, HttpResponse, HttpServer,
    dev::Server,
    web::{self, Data, ServiceConfig},
};
use anyhow::{Context, bail};
use clap::Command;
use pipeline::{
    broker::{Broker, BrokerOptions, Consume},
    health::Readiness,
    log_messages::LISTENING,
    program,
    shutdown::Shutdown,
    topology::Topology,
};
use tokio::{runtime::Runtime, task::JoinSet};
use tracing::{error, info};

use crate::{
    database::Database,
    inbox::{self, Handler},
    outbox,
    settings::Settings,
};

/// How long calls and confirms in flight may take at the end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// What a service is made of.
#[derive(Clone)]
pub struct Service {
    /// The program's name.
    pub name: &'static str,
    /// A sentence for `--help`.
    pub about: &'static str,
    /// The service's own tables.
    pub tables: &'static str,
    /// The exchanges and queues that it needs, which it declares where they are missing.
    pub topology: fn() -> Topology,
    /// The queue that it consumes.
    pub queue: &'static str,
    /// What follows from a message.
    pub handler: Handler,
    /// Its HTTP routes; they find the [`Database`] in the application's data.
    pub routes: fn(&mut ServiceConfig),
}

impl Service {
    /// Runs the service, with its settings from the command line and the environment, until SIGINT or SIGTERM.
    pub fn main(self) -> ExitCode {
        let command = Command::new(self.name).about(self.about);
        program::run(command, |settings, _| match Runtime::new() {
            Ok(runtime) => program::exit_code(runtime.block_on(self.run(settings))),
            Err(error) => {
                error!("can't start the runtime: {error}");
                ExitCode::FAILURE
            }
        })
    }

    async fn run(self, settings: Settings) -> anyhow::Result<()> {
        let shutdown = Shutdown::on_signals()?;
        let tables = [outbox::TABLE, inbox::TABLES, self.tables];
        let database = Database::open(&settings.database, &tables)
            .with_context(|| format!("can't open {}", settings.database.display()))?;
        let broker = Data::new(Broker::connect(&BrokerOptions {
            program: self.name,
            addresses: settings.broker.addresses,
            topology: (self.topology)(),
        }));
        let (address, server) = serve(settings.address, &database, &broker, self.routes)?;
        let (http, stop) = (server.handle(), shutdown.drain.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(outbox::relay(database.clone(), broker.publisher(), stop.clone()));
        let consumer = broker.consume(Consume::queue(self.queue, inbox::PREFETCH, self.name));
        tasks.spawn(inbox::run(consumer, database, self.handler, stop.clone()));
        let mut serving = tokio::spawn(server);
        info!(%address, "{LISTENING}");
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            ended = &mut serving => ended?.context("the HTTP server ended")?,
            ended = tasks.join_next() => bail!("a background task ended by itself: {ended:?}"),
        }
        http.stop(true).await;
        while tasks.join_next().await.is_some() {}
        broker.close(DRAIN_TIMEOUT).await;
        Ok(())
    }
}

fn serve(
    address: SocketAddr,
    database: &Database,
    broker: &Data<Broker>,
    routes: fn(&mut ServiceConfig),
) -> anyhow::Result<(SocketAddr, Server)> {
    let (database, broker) = (Data::new(database.clone()), broker.clone());
    let app = move || {
        let app = App::new().app_data(database.clone()).app_data(broker.clone());
        app.route("/health", web::get().to(health)).configure(routes)
    };
    let server = HttpServer::new(app)
        .workers(1)
        .disable_signals()
        .shutdown_timeout(DRAIN_TIMEOUT.as_secs())
        .bind(address)
        .with_context(|| format!("can't listen on HTTP_ADDR={address}"))?;
    let address = *server.addrs().first().context("no address was bound")?;
    Ok((address, server.run()))
}

/// `200` while the broker is connected, else `503`. Calls are answered in both cases.
async fn health(broker: Data<Broker>) -> HttpResponse {
    let readiness = Readiness::of(broker.health());
    match readiness.is_ready() {
        true => HttpResponse::Ok().json(readiness),
        false => HttpResponse::ServiceUnavailable().json(readiness),
    }
}
