//! What the soak runs against: a private broker, a private PostgreSQL, two web services and three processors.

mod service;

use std::path::Path;

use anyhow::{Context, Result};
use testbed::{
    Program, ports,
    postgres::{self, Server},
    process::WAIT_TIMEOUT,
    rabbitmq::{Install, Node, NodeOptions, Version},
    workspace,
};

pub(super) use self::service::Service;
use self::service::{RETRY_DELAYS, Role, Surroundings};
use super::{
    schedule::{PROCESSORS, WEBS},
    shared_ledger::SharedLedger,
};
use crate::console;

/// All programs, running.
pub(super) struct Stage {
    pub(super) webs: Vec<Service>,
    pub(super) processors: Vec<Service>,
    pub(super) broker: Node,
    pub(super) postgres: Server,
    /// The name of the database.
    pub(super) database: String,
}

impl Stage {
    /// Starts everything; the programs write their logs into this folder.
    pub(super) async fn build(logs: &Path, ledger: &SharedLedger) -> Result<Self> {
        let (broker, postgres) = (start_broker().await?, start_postgres().await?);
        let database = postgres.create_database().await?;
        let around = Surroundings {
            broker: broker.url(),
            database: postgres.url(&database),
            logs: logs.to_owned(),
            ledger: ledger.clone(),
        };
        let setup = Program::new("setup").env("AMQP_URL", broker.url());
        setup.env("RETRY_DELAYS", RETRY_DELAYS).start()?.succeed_within(WAIT_TIMEOUT).await?;
        let (mut webs, mut processors) = (Vec::new(), Vec::new());
        for number in 1..=WEBS {
            let role = Role::Web { port: ports::free()? };
            webs.push(Service::start(format!("web-{number}"), role, around.clone()).await?);
        }
        for number in 1..=PROCESSORS {
            let name = format!("processor-{number}");
            processors.push(Service::start(name, Role::Processor, around.clone()).await?);
        }
        Ok(Self { webs, processors, broker, postgres, database })
    }

    /// The addresses of the web services.
    pub(super) fn urls(&self) -> Vec<String> {
        self.webs.iter().filter_map(Service::url).collect()
    }

    /// Stops the services cleanly: first the processors, then the web services, which take their results.
    pub(super) async fn stop_services(&mut self) -> Result<()> {
        for service in self.processors.iter_mut().chain(&mut self.webs) {
            service.stop().await?;
        }
        Ok(())
    }
}

/// The folder for everything that soaks write.
pub(super) fn folder() -> Result<std::path::PathBuf> {
    Ok(workspace::state_dir()?.join("soak"))
}

async fn start_broker() -> Result<Node> {
    let install =
        Install::find_or_unpack(Version::Any, &|line| console::step("rabbitmq", line)).await?;
    let options = NodeOptions { parent: Some(folder()?), ..NodeOptions::default() };
    let text = format!("starting a private node of RabbitMQ {}", install.version());
    console::while_waiting("rabbitmq", &text, Node::start(&install, options)).await
}

async fn start_postgres() -> Result<Server> {
    let install = postgres::Install::find_or_unpack(&|line| console::step("postgres", line))
        .await
        .context("the soak needs PostgreSQL, since it has several web services")?;
    console::while_waiting("postgres", "starting a private server", Server::start(&install)).await
}
