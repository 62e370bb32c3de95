//! Processors that tell of their health at `PROCESSOR_HTTP_ADDR`.

use anyhow::{Context, Result};
use pipeline::log_messages::LISTENING;
use serde_json::Value;
use testbed::{
    http,
    program::{Program, Running},
};

use crate::support::wait::settles;

/// Starts a processor that tells of its health, and gives the URL of that.
pub(crate) async fn listening(program: Program) -> Result<(Running, String)> {
    listening_on("127.0.0.1:0", program).await
}

/// The same, with this address.
pub(crate) async fn listening_on(address: &str, program: Program) -> Result<(Running, String)> {
    let processor = program.env("PROCESSOR_HTTP_ADDR", address).start()?;
    let listening = processor.wait_for_message(LISTENING).await?;
    let address = listening["address"].as_str().context("an address")?;
    let at = format!("http://{address}");
    Ok((processor, at))
}

/// The status of a health check, and what it says.
pub(crate) async fn health(at: &str, of: &str) -> Result<(u16, Value)> {
    let answer = http::builder().build()?.get(format!("{at}/health/{of}")).send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

/// Asks again and again until a processor is or is not ready, because of this part.
pub(crate) async fn ready_is(at: &str, status: u16, part: &str) -> Result<()> {
    settles(&format!("{part} makes it {status}"), async || {
        let (answered, body) = health(at, "ready").await?;
        let parts = body["parts"].as_object().context("parts")?;
        let missing: Vec<_> = parts.iter().filter(|(_, part)| part["ok"] == false).collect();
        let is_its = missing.iter().any(|(name, _)| *name == part) || part.is_empty();
        Ok(answered == status && is_its && missing.is_empty() == (status == 200))
    })
    .await
}
