//! A service of an example: a process that is killed and started again, with its database and its address.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use pipeline::log_messages::LISTENING;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use testbed::{Program, http, ports, process::WAIT_TIMEOUT, program::Running};

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A service of an example.
pub(crate) struct Service {
    name: &'static str,
    broker: String,
    address: String,
    /// Its database is here, from one process to the next.
    folder: TempDir,
    client: reqwest::Client,
    pub(crate) process: Running,
}

impl Service {
    /// Starts it with an empty database. It need not reach the broker.
    pub(crate) async fn start(name: &'static str, broker: &str) -> Result<Self> {
        let (folder, address) = (tempfile::tempdir()?, format!("127.0.0.1:{}", ports::free()?));
        let process = started(name, broker, &address, folder.path().join("service.db")).await?;
        let client = http::builder().timeout(WAIT_TIMEOUT).build()?;
        Ok(Self { name, broker: broker.to_owned(), address, folder, client, process })
    }

    /// Its database file.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("service.db")
    }

    /// Kills it (SIGKILL).
    pub(crate) async fn kill(&self) -> Result<()> {
        self.process.kill();
        self.process.wait().await.map(drop)
    }

    /// Starts it again after its end, with its database, at its address.
    pub(crate) async fn start_again(&mut self) -> Result<()> {
        ensure!(self.process.exit_status().is_some(), "{} still runs", self.name);
        self.process = started(self.name, &self.broker, &self.address, self.database()).await?;
        Ok(())
    }

    /// Kills it and starts it again.
    pub(crate) async fn kill_and_start_again(&mut self) -> Result<()> {
        self.kill().await?;
        self.start_again().await
    }

    /// Stops it (SIGTERM), which has to end with exit code 0.
    pub(crate) async fn stop(&self) -> Result<()> {
        self.process.terminate();
        let status = self.process.wait().await?;
        ensure!(status.success(), self.process.error(&format!("ended with {status}")));
        Ok(())
    }

    /// A request, to be completed and sent.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    /// What is at this path.
    pub(crate) async fn get(&self, path: &str) -> Result<(StatusCode, Value)> {
        answer(self.request(Method::GET, path)).await
    }

    /// Asks again and again until the answer is as wanted.
    pub(crate) async fn shows(&self, path: &str, wanted: &Value) -> Result<()> {
        self.becomes(path, |_, body| body == wanted).await.with_context(|| format!("not {wanted}"))
    }

    /// Asks again and again, within [`WAIT_TIMEOUT`], until `is` gives true.
    pub(crate) async fn becomes(
        &self,
        path: &str,
        is: impl Fn(StatusCode, &Value) -> bool,
    ) -> Result<()> {
        let limit = Instant::now() + WAIT_TIMEOUT;
        loop {
            let (status, body) = self.get(path).await?;
            if is(status, &body) {
                return Ok(());
            }
            let last = || self.process.error(&format!("answers {status} {body} to {path}"));
            ensure!(Instant::now() < limit, last());
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// Sends a request and gives status and body of the answer; without a body, null.
pub(crate) async fn answer(request: RequestBuilder) -> Result<(StatusCode, Value)> {
    let answer = request.send().await?;
    let (status, text) = (answer.status(), answer.text().await?);
    let body =
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).context(text)? };
    Ok((status, body))
}

/// Sends a request that has to succeed.
pub(crate) async fn succeeds(request: RequestBuilder) -> Result<Value> {
    let (status, body) = answer(request).await?;
    ensure!(status.is_success(), "{status}: {body}");
    Ok(body)
}

async fn started(name: &str, broker: &str, address: &str, database: PathBuf) -> Result<Running> {
    let program = Program::new(name).env("AMQP_URL", broker).env("LOG_FORMAT", "json");
    let process = program.env("HTTP_ADDR", address).env("DATABASE", database).start()?;
    process.wait_for_message(LISTENING).await?;
    Ok(process)
}
