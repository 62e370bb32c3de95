//! The programs of a system: one web service and two processors.

use std::{net::TcpListener, time::Duration};

use anyhow::{Context, Result, ensure};
use pipeline::log_messages::{CONSUMING, LISTENING};
use testbed::{Process, Program, process::WAIT_TIMEOUT, program::Running};
use tokio::time::{Instant, sleep};

use super::broker::Broker;
use crate::console;

/// How long the web service may take to be ready: the broker may be far away.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const READY_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The web service's name on the console.
pub(crate) const WEB: &str = "web";

/// A processor.
pub(crate) struct Worker {
    /// Its name on the console.
    pub(crate) name: &'static str,
    pub(crate) process: Running,
}

/// Running programs.
pub(crate) struct Programs {
    pub(crate) web: Running,
    pub(crate) workers: Vec<Worker>,
    address: String,
    delay: &'static str,
}

impl Programs {
    /// Declares the topology, starts all programs, and waits until they are ready. The workers take `delay` for a
    /// request.
    pub(crate) async fn start(broker: &Broker, delay: &'static str) -> Result<Self> {
        declare_topology(broker).await?;
        let web = service(broker, "web-service").env("HTTP_ADDR", http_address()).start()?;
        let workers = vec![
            start_worker(broker, "worker-1", delay)?,
            start_worker(broker, "worker-2", delay)?,
        ];
        let address = listening_address(&web).await?;
        console::step(WEB, format!("listens on http://{address}"));
        for worker in &workers {
            worker.process.wait_for_message(CONSUMING).await?;
            let pid = console::dimmed(format!("(pid {})", worker.process.pid()));
            console::step(worker.name, format!("waits for requests {pid}"));
        }
        wait_until_ready(&address).await?;
        Ok(Self { web, workers, address, delay })
    }

    /// Starts a worker in place of the one of this name, which has ended.
    pub(crate) fn replace(&mut self, broker: &Broker, name: &'static str) -> Result<&Worker> {
        self.workers.retain(|worker| worker.name != name);
        self.workers.push(start_worker(broker, name, self.delay)?);
        self.workers.last().context("the worker just started")
    }

    /// The process with this name on the console.
    pub(crate) fn process(&self, name: &str) -> &Process {
        let worker = self.workers.iter().find(|worker| worker.name == name);
        worker.map_or(&self.web, |worker| &worker.process)
    }

    /// The base URL of the web service.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn declare_topology(broker: &Broker) -> Result<()> {
    let setup = broker.configure(Program::new("setup")).start()?;
    let declared = setup.succeed_within(WAIT_TIMEOUT);
    console::while_waiting("setup", "declaring exchanges and queues", declared).await?;
    console::step("setup", "exchanges and queues are declared");
    Ok(())
}

fn start_worker(broker: &Broker, name: &'static str, delay: &str) -> Result<Worker> {
    let process = service(broker, "processor-service").env("PROCESSING_DELAY", delay).start()?;
    Ok(Worker { name, process })
}

fn service(broker: &Broker, name: &str) -> Program {
    broker.configure(Program::new(name)).env("LOG_FORMAT", "json")
}

/// The default address, or if it is in use, a port that the system chooses.
fn http_address() -> &'static str {
    let default = "127.0.0.1:3000";
    if TcpListener::bind(default).is_ok() { default } else { "127.0.0.1:0" }
}

async fn wait_until_ready(address: &str) -> Result<()> {
    let client = testbed::http::builder().timeout(Duration::from_secs(5)).build()?;
    let deadline = Instant::now() + READY_TIMEOUT;
    loop {
        let response = client.get(format!("http://{address}/health/ready")).send().await?;
        if response.status().is_success() {
            return Ok(());
        }
        let parts = response.text().await?;
        ensure!(Instant::now() < deadline, "the web service is not ready: {parts}");
        sleep(READY_POLL_INTERVAL).await;
    }
}

async fn listening_address(web: &Running) -> Result<String> {
    let line = web.wait_for_message(LISTENING).await?;
    let address = line["address"].as_str();
    let address = address.context("the web service does not log where it listens")?;
    Ok(address.to_owned())
}
