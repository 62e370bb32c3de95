//! A running web service that is measured.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use pipeline::log_messages::LISTENING;
use testbed::{Program, process::WAIT_TIMEOUT, program::Running};
use tokio::time::{Instant, sleep};

use super::http_client::HttpClient;

const READY_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A running web service.
pub(super) struct WebService {
    pub(super) program: Running,
    pub(super) address: SocketAddr,
}

impl WebService {
    /// Starts it and waits until it listens.
    pub(super) async fn start(program: Program) -> Result<Self> {
        let program = program.env("HTTP_ADDR", "127.0.0.1:0").start()?;
        let line = program.wait_for_message(LISTENING).await?;
        let address =
            line["address"].as_str().context("the web service does not log its address")?;
        Ok(Self { address: address.parse()?, program })
    }

    /// Waits until it is ready.
    pub(super) async fn wait_until_ready(&self) -> Result<()> {
        let mut client = HttpClient::connect(self.address).await?;
        let deadline = Instant::now() + WAIT_TIMEOUT;
        while client.get("/health/ready").await?.status != 200 {
            if Instant::now() > deadline {
                return Err(self.program.error("is not ready within a minute"));
            }
            sleep(READY_POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Stops it cleanly.
    pub(super) async fn stop(self) -> Result<()> {
        stop(self.program).await
    }
}

/// Stops a program cleanly.
pub(super) async fn stop(program: Running) -> Result<()> {
    program.terminate();
    program.succeed_within(WAIT_TIMEOUT).await.map(drop)
}
