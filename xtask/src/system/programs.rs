//! The programs of a system: one web service and its workers, with all their events.

use std::{net::TcpListener, process::ExitStatus, time::Duration};

use anyhow::{Context, Result, ensure};
use pipeline::log_messages::{CONSUMING, LISTENING};
use testbed::{Process, Program, process::WAIT_TIMEOUT, program::Running};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    launch::Launch,
    log_events::{Event, EventKind, LogEvents},
};
use crate::console;

/// How long the web service may take to be ready: the broker may be far away.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const READY_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The web service's name on the console.
pub(crate) const WEB: &str = "web";

/// A worker.
struct Worker {
    /// Its name on the console.
    name: &'static str,
    process: Running,
}

/// Running programs. They are killed when this is dropped.
pub(crate) struct Programs {
    web: Running,
    address: String,
    workers: Vec<Worker>,
    events: LogEvents,
}

/// How programs ended that were told to: their names and exit statuses.
pub(crate) type Ended = Vec<(&'static str, ExitStatus)>;

impl Programs {
    /// Declares the topology, starts a web service and these workers, and waits until they are ready.
    pub(crate) async fn start(
        launch: &Launch,
        web: Program,
        workers: Vec<(&'static str, Program)>,
    ) -> Result<Self> {
        declare_topology(launch).await?;
        let web = web.start()?;
        let events = LogEvents::new(launch.logs.clone());
        events.follow(WEB, &web)?;
        let mut programs = Self { web, address: String::new(), workers: Vec::new(), events };
        for (name, worker) in workers {
            programs.start_worker(name, worker)?;
        }
        programs.wait_until_ready().await?;
        Ok(programs)
    }

    /// Starts a worker in place of one of this name, which is killed if it has not ended. Gives its pid.
    pub(crate) fn start_worker(&mut self, name: &'static str, worker: Program) -> Result<u32> {
        self.workers.retain(|worker| worker.name != name);
        let process = worker.start()?;
        self.events.follow(name, &process)?;
        let pid = process.pid();
        self.workers.push(Worker { name, process });
        Ok(pid)
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

    /// Waits for the next event of any program.
    pub(crate) async fn next_event(&mut self) -> Event {
        self.events.next().await
    }

    /// Stops the programs within `timeout` for each step: first the workers, then the web service, which stores their
    /// results. A program has stopped when nothing that it has started holds its output any more: that may finish its work.
    /// `show` gets all events until then but the exits.
    pub(crate) async fn stop(
        &mut self,
        timeout: Duration,
        mut show: impl FnMut(&Event) -> Result<()>,
    ) -> Result<Ended> {
        let workers = self.workers.iter();
        let running = workers.filter(|worker| worker.process.exit_status().is_none());
        let names = running.map(|worker| worker.name).collect();
        let mut ended = self.terminate(names, timeout, &mut show).await?;
        let web_runs = self.web.exit_status().is_none();
        let web = if web_runs { vec![WEB] } else { Vec::new() };
        ended.extend(self.terminate(web, timeout, &mut show).await?);
        Ok(ended)
    }

    /// Sends SIGTERM to programs and shows the events of all until these have ended. What a program leaves behind, as a script
    /// does its worker, gets the signal by itself: a script may pass it on, and a second one means that the work in hand is
    /// not to be finished.
    async fn terminate(
        &mut self,
        mut names: Vec<&'static str>,
        timeout: Duration,
        show: &mut impl FnMut(&Event) -> Result<()>,
    ) -> Result<Ended> {
        for name in &names {
            self.process(name).terminate();
        }
        let (mut ended, deadline) = (Ended::new(), Instant::now() + timeout);
        while !names.is_empty() {
            let event = timeout_at(deadline, self.events.next()).await;
            let event = event.with_context(|| format!("{} did not stop", names.join(" and ")))?;
            let process = self.process(event.program);
            let is_meant = process.pid() == event.pid && names.contains(&event.program);
            if is_meant && matches!(event.kind, EventKind::Outlived) {
                process.terminate_group();
            }
            if !matches!(event.kind, EventKind::Exit) {
                show(&event)?;
                continue;
            }
            if is_meant {
                names.retain(|name| *name != event.program);
                ended.push((event.program, process.wait().await?));
            }
        }
        Ok(ended)
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        self.address = listening_address(&self.web).await?;
        console::step(WEB, format!("listens on http://{}", self.address));
        for worker in &self.workers {
            worker.process.wait_for_message(CONSUMING).await?;
            let pid = console::dimmed(format!("(pid {})", worker.process.pid()));
            console::step(worker.name, format!("waits for requests {pid}"));
        }
        wait_until_healthy(&self.address).await
    }
}

async fn declare_topology(launch: &Launch) -> Result<()> {
    let setup = launch.setup().start()?;
    let declared = setup.succeed_within(WAIT_TIMEOUT);
    console::while_waiting("setup", "declaring exchanges and queues", declared).await?;
    console::step("setup", "exchanges and queues are declared");
    Ok(())
}

async fn wait_until_healthy(address: &str) -> Result<()> {
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

/// The web service's default address, or if it is in use, a port that the system chooses.
pub(crate) fn usual_or_any_address() -> &'static str {
    let usual = "127.0.0.1:3000";
    if TcpListener::bind(usual).is_ok() { usual } else { "127.0.0.1:0" }
}
