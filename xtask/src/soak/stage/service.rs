//! A web service or a processor: started, watched, logged, and started again after a disturbance.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use testbed::{
    Program, Proxy, Signal,
    process::{Follow, WAIT_TIMEOUT},
    program::Running,
};
use tokio::{fs::OpenOptions, io::AsyncWriteExt};

use crate::soak::{
    in_flight::InFlight,
    plan::{MAX_ATTEMPTS, MAX_DELIVERIES},
    shared_ledger::SharedLedger,
};

/// The pauses between attempts, in all programs.
pub(super) const RETRY_DELAYS: &str = "1s,2s";
/// How many requests a processor works on at a time: the load keeps about a third of all workers busy.
const WORKERS: u32 = 16;
/// Longer than any soak.
const MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// What callbacks are signed with.
const WEBHOOK_SECRET: &str = "whsec_c2xvd2xhbmUtc2xvd2xhbmUtc2xvd2xhbmUtMDE=";

/// Where the programs are, and who hears of what they do.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) broker: String,
    pub(super) database: String,
    pub(super) logs: PathBuf,
    pub(super) ledger: SharedLedger,
}

/// What a service does.
pub(super) enum Role {
    /// It listens on the same port each time.
    Web {
        port: u16,
    },
    Processor,
}

/// A service behind a proxy of its own, by which it is cut off from the broker.
pub(crate) struct Service {
    name: String,
    role: Role,
    around: Surroundings,
    proxy: Proxy,
    running: Option<Running>,
}

impl Service {
    pub(super) async fn start(name: String, role: Role, around: Surroundings) -> Result<Self> {
        let address = around.broker.rsplit('@').next().and_then(|rest| rest.split('/').next());
        let proxy = Proxy::start(address.context("the broker's URL has no address")?).await?;
        let mut service = Self { name, role, around, proxy, running: None };
        service.start_again()?;
        Ok(service)
    }

    /// The address of a web service.
    pub(super) fn url(&self) -> Option<String> {
        match self.role {
            Role::Web { port } => Some(format!("http://127.0.0.1:{port}")),
            Role::Processor => None,
        }
    }

    /// Starts it in the place of the process that has ended.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        let running = self.program().start()?;
        tokio::spawn(keep_log(
            self.name.clone(),
            running.follow(),
            self.around.logs.join(format!("{}.log", self.name)),
            self.around.ledger.clone(),
        ));
        self.running = Some(running);
        Ok(())
    }

    /// Kills it (SIGKILL).
    pub(crate) async fn kill(&mut self) -> Result<()> {
        let Some(running) = self.running.take() else { return Ok(()) };
        running.kill();
        running.wait().await.map(drop)
    }

    /// Stops it cleanly. Ending in another way, or not in time, is a finding.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let Some(running) = self.running.take() else { return Ok(()) };
        // Before its first line it may not handle signals yet.
        let _begun_or_ended = running.wait_for("a first line", |_| Some(())).await;
        running.terminate();
        if let Err(error) = running.succeed_within(WAIT_TIMEOUT).await {
            self.around.ledger.lock().fault(format!("a clean stop failed: {error:#}"));
        }
        Ok(())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(running) = &self.running {
            running.signal(signal);
        }
    }

    /// Closes its connections to the broker.
    pub(crate) fn cut_off(&self) {
        self.proxy.cut();
    }

    /// Waits until it ends by itself, which is a finding, and starts it again.
    pub(crate) async fn ended(&mut self) -> Result<()> {
        let Some(running) = &self.running else { return std::future::pending().await };
        let status = running.wait_within(MAX_LIFETIME).await?;
        let text = running.error(&format!("ended by itself with {status}"));
        self.around.ledger.lock().fault(format!("{}: {text:#}", self.name));
        self.start_again()
    }

    fn program(&self) -> Program {
        let (name, around) = (self.role.program(), &self.around);
        let program = Program::new(name)
            .env("AMQP_URL", self.proxy.url(&around.broker))
            .env("LOG_FORMAT", "json");
        match self.role {
            Role::Web { port } => program
                .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
                .env("DATABASE_URL", &around.database)
                .env("WEBHOOK_SECRET", WEBHOOK_SECRET)
                .env("CALLBACK_ALLOW_PRIVATE", "true"),
            Role::Processor => program
                .env("WORKERS", WORKERS.to_string())
                .env("MAX_ATTEMPTS", MAX_ATTEMPTS.to_string())
                .env("MAX_DELIVERIES", MAX_DELIVERIES.to_string())
                .env("RETRY_DELAYS", RETRY_DELAYS),
        }
    }
}

impl Role {
    fn program(&self) -> &'static str {
        match self {
            Self::Web { .. } => "web-service",
            Self::Processor => "examples/faulty",
        }
    }
}

/// Writes what a process says to the end of a file, and notes what it died over. A panic is a finding.
async fn keep_log(name: String, mut lines: Follow, file: PathBuf, ledger: SharedLedger) {
    let file = OpenOptions::new().create(true).append(true).open(&file).await;
    let Ok(mut file) = file else { return };
    let mut in_flight = InFlight::default();
    while let Some(line) = lines.next().await {
        in_flight.read(&line);
        if line.contains("panicked at") {
            ledger.lock().fault(format!("{name}: {line}"));
        }
        // A full disk is no reason to stop: the log is for people who look for reasons.
        let _ = file.write_all(format!("{line}\n").as_bytes()).await;
    }
    let _ = file.flush().await;
    let mut ledger = ledger.lock();
    in_flight.at_the_end().for_each(|id| ledger.worker_died(id));
}
