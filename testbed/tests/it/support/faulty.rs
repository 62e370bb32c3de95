//! The example processor that fails as its requests say, and the times of its attempts from its log.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use pipeline::log_messages;
use serde_json::Value;
use testbed::{Program, program::Running};

use crate::support::{
    stack::{Stack, Web, consuming},
    wait::settles,
};

impl Stack {
    /// The faulty processor, to be started with what else it needs.
    pub(crate) fn faulty(&self, workers: usize) -> Program {
        self.program("examples/faulty").env("WORKERS", workers.to_string())
    }

    /// The faulty processor, with these pauses between attempts, and all its workers consuming.
    pub(crate) async fn start_faulty(&self, workers: usize, delays: &str) -> Result<Running> {
        let processor = self.faulty(workers).env("RETRY_DELAYS", delays).start()?;
        consuming(&processor, workers).await?;
        Ok(processor)
    }
}

/// A processor whose workers may hold so many requests each.
pub(crate) fn holding(program: Program, prefetch: u16) -> Program {
    match prefetch {
        1 => program,
        _ => program.env("PREFETCH", prefetch.to_string()).env("JOB_TIMEOUT", "2m"),
    }
}

/// Lets a worker work on this short job until the broker sends requests ahead. On a slow machine one may not be short.
pub(crate) async fn consumes_ahead(worker: &Running, web: &Web, job: &Value) -> Result<()> {
    settles("the worker consumes ahead", async || {
        web.ended(&web.accepted(job.clone()).await?).await?;
        Ok(worker.has_logged(log_messages::CONSUMING_AHEAD))
    })
    .await
    .map_err(|error| worker.error(&error.to_string()))
}

/// When the attempts at a request began, and how many there were, as a processor's log tells.
pub(crate) fn began(processor: &Running, id: &str) -> Result<Vec<SystemTime>> {
    moments(processor, id, log_messages::STARTED)
}

/// When the attempts at a request ended that failed.
pub(crate) fn failed(processor: &Running, id: &str) -> Result<Vec<SystemTime>> {
    moments(processor, id, log_messages::FAILED)
}

fn moments(processor: &Running, id: &str, message: &str) -> Result<Vec<SystemTime>> {
    let of_id = |line: &String| {
        let line: Value = serde_json::from_str(line).ok()?;
        let meant = line["message"] == message && line["requestId"] == id;
        meant.then(|| line["timestamp"].as_str().map(str::to_owned)).flatten()
    };
    let texts = processor.lines().iter().filter_map(of_id).collect::<Vec<_>>();
    texts.iter().map(|text| humantime::parse_rfc3339(text).context("a time")).collect()
}

/// Each attempt began when its pause was over, and not earlier.
pub(crate) fn paused(processor: &Running, id: &str, pauses: &[Duration]) -> Result<()> {
    let (began, failed) = (began(processor, id)?, failed(processor, id)?);
    ensure!(began.len() == pauses.len() + 1, "{} attempts at {id}", began.len());
    for ((pause, failed), began) in pauses.iter().zip(&failed).zip(&began[1..]) {
        let waited =
            began.duration_since(*failed).context("an attempt before the end of another")?;
        ensure!(waited >= *pause, "{id} waited {waited:?} instead of {pause:?}");
    }
    Ok(())
}
