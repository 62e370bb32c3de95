//! The web service that is measured.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use testbed::{Program, process::WAIT_TIMEOUT, program::Running};
use tokio::time::{Instant, sleep};

use super::client::Client;

/// A running web service.
pub(super) struct Web {
    pub(super) program: Running,
    pub(super) address: SocketAddr,
}

impl Web {
    /// Starts it and waits until it listens.
    pub(super) async fn start(program: Program) -> Result<Self> {
        let program = program.env("HTTP_ADDR", "127.0.0.1:0").start()?;
        let line = program.wait_for_message("listening").await?;
        let address = line["address"].as_str().context("the web service has no address")?;
        Ok(Self { address: address.parse()?, program })
    }

    /// Waits until it is ready.
    pub(super) async fn ready(&self) -> Result<()> {
        let mut client = Client::connect(self.address).await?;
        let limit = Instant::now() + WAIT_TIMEOUT;
        while client.get("/health/ready").await?.status != 200 {
            if Instant::now() > limit {
                return Err(self.program.error("is not ready within a minute"));
            }
            sleep(Duration::from_millis(20)).await;
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
