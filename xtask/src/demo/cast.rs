//! Who plays: one web service and two workers.

use std::{net::TcpListener, time::Duration};

use anyhow::{Context, Result, ensure};
use testbed::{Process, Program, program::Running};
use tokio::time::{Instant, sleep};

use super::broker::Broker;
use crate::say;

/// How long the web service may take to be ready, with a broker that may be far away.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The name of the web service on the screen.
pub(super) const WEB: &str = "web";

/// A processor with the name it has on the screen.
pub(super) struct Worker {
    pub(super) name: &'static str,
    pub(super) process: Running,
}

/// All programs, started and ready.
pub(crate) struct Cast {
    pub(super) web: Running,
    pub(super) workers: Vec<Worker>,
    address: String,
    delay: &'static str,
}

impl Cast {
    /// Declares the topology and starts everybody; workers take `delay` for a request.
    pub(crate) async fn start(broker: &Broker, delay: &'static str) -> Result<Self> {
        set_up(broker).await?;
        let web = service(broker, "web-service").env("HTTP_ADDR", http_address()).start()?;
        let workers = vec![
            start_worker(broker, "worker-1", delay)?,
            start_worker(broker, "worker-2", delay)?,
        ];
        let address = address_of(&web).await?;
        say::step(WEB, format!("listens on http://{address}"));
        for worker in &workers {
            worker.process.wait_for_message("consuming").await?;
            let pid = say::faint(format!("(pid {})", worker.process.pid()));
            say::step(worker.name, format!("waits for requests {pid}"));
        }
        ready(&address).await?;
        Ok(Self { web, workers, address, delay })
    }

    /// Starts a worker in the place of the one of this name that has ended.
    pub(super) fn replace(&mut self, broker: &Broker, name: &'static str) -> Result<&Worker> {
        self.workers.retain(|worker| worker.name != name);
        self.workers.push(start_worker(broker, name, self.delay)?);
        self.workers.last().context("the worker just started")
    }

    /// The process with this name on the screen.
    pub(super) fn process(&self, name: &str) -> &Process {
        let worker = self.workers.iter().find(|worker| worker.name == name);
        worker.map_or(&self.web, |worker| &worker.process)
    }

    /// Where the web service is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn set_up(broker: &Broker) -> Result<()> {
    let setup = broker.tell(Program::new("setup")).start()?;
    say::waiting(
        "setup",
        "declaring exchanges and queues",
        setup.succeed_within(Duration::from_secs(60)),
    )
    .await?;
    say::step("setup", "exchanges and queues are declared");
    Ok(())
}

fn start_worker(broker: &Broker, name: &'static str, delay: &str) -> Result<Worker> {
    let process = service(broker, "processor-service").env("PROCESSING_DELAY", delay).start()?;
    Ok(Worker { name, process })
}

fn service(broker: &Broker, name: &str) -> Program {
    broker.tell(Program::new(name)).env("LOG_FORMAT", "json")
}

/// The usual address if it is free, else one that the system chooses.
fn http_address() -> &'static str {
    let usual = "127.0.0.1:3000";
    if TcpListener::bind(usual).is_ok() { usual } else { "127.0.0.1:0" }
}

/// Waits until the web service says that it is ready.
async fn ready(address: &str) -> Result<()> {
    let client = testbed::http::builder().timeout(Duration::from_secs(5)).build()?;
    let limit = Instant::now() + READY_WITHIN;
    loop {
        let answer = client.get(format!("http://{address}/health/ready")).send().await?;
        if answer.status().is_success() {
            return Ok(());
        }
        let parts = answer.text().await?;
        ensure!(Instant::now() < limit, "the web service is not ready: {parts}");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn address_of(web: &Running) -> Result<String> {
    let line = web.wait_for_message("listening").await?;
    let address =
        line["address"].as_str().context("the web service does not say where it listens")?;
    Ok(address.to_owned())
}
