//! Stored results per second when a web service finds many in its queue, beside a bare consumer that only acks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pipeline::log_messages::RESULT;
use testbed::{process::has_message, program::Running};

use super::{
    bare_client,
    context::Bench,
    figure::{Figure, Threshold, Unit},
    load,
    system::StoreKind,
};

/// The least ratios to the bare consumer's rate.
const LEAST: [(StoreKind, f64); 2] = [(StoreKind::Sqlite, 0.50), (StoreKind::Postgres, 0.40)];
/// The prefetch of the web service.
const PREFETCH: u16 = 500;
const CONNECTIONS: usize = 256;

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let kinds = bench.system.store_kinds();
    let measured = LEAST.into_iter().filter(|(kind, _)| kinds.contains(kind));
    let figure = |(kind, least)| {
        let threshold = Some(Threshold::AtLeast(least));
        (kind, Figure::new(format!("results, {kind}"), Unit::PerSecond, threshold))
    };
    let mut figures: Vec<_> = measured.map(figure).collect();
    for _ in bench.rounds("results") {
        let drain = bare_client::drain(&bench.system, bench.scale.results, PREFETCH);
        let seconds = bench.other_load.during(drain).await?;
        let floor = bench.scale.results as f64 / seconds;
        for (kind, figure) in &mut figures {
            figure.add(measure_web_service(bench, *kind).await?, floor);
        }
    }
    Ok(figures.into_iter().map(|(_, figure)| figure).collect())
}

/// The rate of a web service that has accepted the requests before.
async fn measure_web_service(bench: &Bench, kind: StoreKind) -> Result<f64> {
    let (system, count) = (&bench.system, bench.scale.results);
    let database = system.database(kind).await?;
    let web = system.web_service(&database).await?;
    let mut ids = load::post_count(web.address, CONNECTIONS, count).await?;
    // Results come about in the order of their requests.
    ids.sort_unstable();
    web.stop().await?;
    system.purge().await?;
    load::publish_results(system.broker_url(), ids).await?;
    let drain = async {
        let web = system.starting_web_service(&database).await?;
        let took = all_stored(&web.program, count).await?;
        web.stop().await?;
        Ok::<_, anyhow::Error>(took)
    };
    let took = bench.other_load.during(drain).await?;
    Ok(count as f64 / took.as_secs_f64())
}

/// The time from the first to the last result. A web service logs a result when it is committed.
pub(super) async fn all_stored(web: &Running, count: usize) -> Result<Duration> {
    let first = wait_for_results(web, count).await?;
    let took = first.elapsed();
    ensure!(!took.is_zero(), "there were no results");
    Ok(took)
}

/// Waits until so many results are stored, and returns when the first was.
pub(super) async fn wait_for_results(web: &Running, count: usize) -> Result<Instant> {
    let mut lines = web.follow();
    let mut first = None;
    let mut stored = 0;
    while stored < count {
        let next = tokio::time::timeout(testbed::process::WAIT_TIMEOUT, lines.next());
        let line = next.await.ok().flatten();
        let line = line.with_context(|| format!("only {stored} of {count} results were stored"))?;
        if has_message(&line, RESULT) {
            first.get_or_insert_with(Instant::now);
            stored += 1;
        }
    }
    first.context("no result was waited for")
}
