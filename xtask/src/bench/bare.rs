//! The floors: what the broker does for a bare client, which is a program of its own, the example `bare` of `pipeline`.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, de::DeserializeOwned};
use testbed::Program;

use super::{load::Rate, scale::Scale, stage::Stage};

/// Longer than the longest measurement takes.
const LIMIT: Duration = Duration::from_secs(300);

/// Publishes requests with that many unconfirmed.
pub(super) async fn publishes(stage: &Stage, window: usize, scale: Scale) -> Result<Rate> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Said {
        per_second: f64,
        all: usize,
    }
    let [warm_up, time] = [scale.warm_up, scale.time].map(|time| time.as_millis());
    let said = run(stage, format!("publish {window} {warm_up} {time}"));
    let Said { per_second, all } = said.await?;
    Ok(Rate { per_second, all, p50: None, p99: None })
}

/// The seconds that it takes to consume that many results with this prefetch.
pub(super) async fn drain(stage: &Stage, count: usize, prefetch: u16) -> Result<f64> {
    #[derive(Deserialize)]
    struct Said {
        seconds: f64,
    }
    let said = run(stage, format!("drain {count} {prefetch}"));
    said.await.map(|Said { seconds }| seconds)
}

/// The seconds of each of that many round trips: a request is published, confirmed and delivered, and so is its result.
pub(super) async fn round_trips(stage: &Stage, count: usize) -> Result<Vec<f64>> {
    #[derive(Deserialize)]
    struct Said {
        seconds: Vec<f64>,
    }
    let said = run(stage, format!("round-trips {count}"));
    said.await.map(|Said { seconds }| seconds)
}

async fn run<T: DeserializeOwned>(stage: &Stage, words: String) -> Result<T> {
    let program = Program::new("examples/bare").arg(stage.address());
    let program = words.split(' ').fold(program, Program::arg).start()?;
    let lines = program.succeed_within(LIMIT).await?;
    let line = lines.last().context("the bare client said nothing")?;
    serde_json::from_str(line).with_context(|| format!("the bare client said {line:?}"))
}
