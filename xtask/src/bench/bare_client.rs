//! The floors: what the broker does for a client with nothing around it, the example `bare` of `pipeline`.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, de::DeserializeOwned};
use testbed::Program;

use super::{load::Throughput, scale::Scale, system::System};

/// Longer than the longest measurement takes.
const BARE_CLIENT_TIMEOUT: Duration = Duration::from_secs(300);

/// Publishes requests with up to `window` unconfirmed.
pub(super) async fn publish(system: &System, window: usize, scale: Scale) -> Result<Throughput> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Published {
        per_second: f64,
        all: usize,
    }
    let [warm_up, duration] = [scale.warm_up, scale.duration].map(|time| time.as_millis());
    let published = run(system, format!("publish {window} {warm_up} {duration}"));
    let Published { per_second, all } = published.await?;
    Ok(Throughput { per_second, total: all, p50: None, p99: None })
}

/// The seconds that it takes to consume `count` results with this prefetch.
pub(super) async fn drain(system: &System, count: usize, prefetch: u16) -> Result<f64> {
    #[derive(Deserialize)]
    struct Drained {
        seconds: f64,
    }
    let drained = run(system, format!("drain {count} {prefetch}"));
    drained.await.map(|Drained { seconds }| seconds)
}

/// The seconds that `workers` need to answer `count` requests, until all results are consumed.
pub(super) async fn work(system: &System, count: usize, workers: usize) -> Result<f64> {
    #[derive(Deserialize)]
    struct Done {
        seconds: f64,
    }
    run(system, format!("work {count} {workers}")).await.map(|Done { seconds }| seconds)
}

/// The seconds of each of `count` round trips: a request is published, confirmed and delivered, and so is its result.
pub(super) async fn round_trips(system: &System, count: usize) -> Result<Vec<f64>> {
    #[derive(Deserialize)]
    struct RoundTrips {
        seconds: Vec<f64>,
    }
    let round_trips = run(system, format!("round-trips {count}"));
    round_trips.await.map(|RoundTrips { seconds }| seconds)
}

/// Runs the example and parses the last line of its output.
async fn run<T: DeserializeOwned>(system: &System, arguments: String) -> Result<T> {
    let program = Program::new("examples/bare").arg(system.broker_address());
    let program = arguments.split(' ').fold(program, Program::arg).start()?;
    let lines = program.succeed_within(BARE_CLIENT_TIMEOUT).await?;
    let line = lines.last().context("the bare client printed nothing")?;
    serde_json::from_str(line).with_context(|| format!("the bare client printed {line:?}"))
}
