//! Results: how fast those that wait are stored when a web service comes back, beside a bare consumer that only acks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testbed::program::Running;

use super::{
    Bench, bare,
    figure::{Figure, Hold, Unit},
    load,
    stage::Kind,
};

/// What at least is to be left of the bare rate.
const HOLD: Hold = Hold::AtLeast(0.5);
/// As many as the web service has.
const PREFETCH: u16 = 250;
const CONNECTIONS: usize = 256;

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let figure =
        |kind| (kind, Figure::new(format!("results, {kind}"), Unit::PerSecond, Some(HOLD)));
    let mut figures: Vec<_> = bench.stage.kinds().into_iter().map(figure).collect();
    for _ in bench.rounds("results") {
        let drain = bare::drain(&bench.stage, bench.scale.results, PREFETCH);
        let seconds = bench.usage.during(drain).await?;
        let floor = bench.scale.results as f64 / seconds;
        for (kind, figure) in &mut figures {
            figure.add(with(bench, *kind).await?, floor);
        }
    }
    Ok(figures.into_iter().map(|(_, figure)| figure).collect())
}

/// The rate of a web service that accepted the requests before.
async fn with(bench: &Bench, kind: Kind) -> Result<f64> {
    let (stage, count) = (&bench.stage, bench.scale.results);
    let database = stage.database(kind).await?;
    let web = stage.web(&database).await?;
    let mut ids = load::accepted(web.address, CONNECTIONS, count).await?;
    // Work ends about in the order in which it came.
    ids.sort_unstable();
    web.stop().await?;
    stage.purge().await?;
    load::publish_results(stage.url(), ids).await?;
    let drain = async {
        let web = stage.web_starting(&database).await?;
        let took = all_stored(&web.program, count).await?;
        web.stop().await?;
        Ok::<_, anyhow::Error>(took)
    };
    let took = bench.usage.during(drain).await?;
    Ok(count as f64 / took.as_secs_f64())
}

/// The time from the first to the last result. A web service logs a result when it is committed.
async fn all_stored(web: &Running, count: usize) -> Result<Duration> {
    let mut lines = web.follow();
    let mut first = None;
    let mut stored = 0;
    while stored < count {
        let next = tokio::time::timeout(testbed::process::WAIT_TIMEOUT, lines.next());
        let line = next.await.ok().flatten();
        let line = line.with_context(|| format!("only {stored} of {count} results were stored"))?;
        if line.contains(r#""message":"result""#) {
            first.get_or_insert_with(Instant::now);
            stored += 1;
        }
    }
    let took = first.map(|first| first.elapsed()).unwrap_or_default();
    ensure!(!took.is_zero(), "there were no results");
    Ok(took)
}
