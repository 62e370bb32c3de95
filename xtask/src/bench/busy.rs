//! Latency from a POST to its result while requests arrive at a tenth and at 70 % of what the system can do.
//!
//! Requests are sent when they are due, whether or not the ones before have been answered, and a time counts from the
//! moment the request was due: a request that has to wait for a connection, or for this program, counts as slow. So a
//! stall of the system is seen by all the requests that were due in it (no coordinated omission).

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;

use super::{
    context::Bench,
    figure::{Figure, Threshold, Unit},
    load,
    open_load::OpenLoad,
    system::StoreKind,
    web,
};

/// Shares of the capacity, and their names.
const SHARES: [(f64, &str); 2] = [(0.1, "10 %"), (0.7, "70 %")];
const QUANTILES: [(f64, &str); 2] = [(0.5, "p50"), (0.99, "p99")];
/// The highest ratio of the p99 at 70 % to that at 10 %.
const THRESHOLD: Threshold = Threshold::AtMost(6.0);
const WORKERS: usize = 8;
/// The clients that wait for their results at once while the capacity is measured.
const CLIENTS: usize = 64;
/// The connections for requests that are due. If all wait for results, the next requests wait, too.
const CONNECTIONS: usize = 512;

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let name = format!("POST to result, {CLIENTS} clients, {WORKERS} workers");
    let mut capacity = Figure::new(name, Unit::PerSecond, None);
    let mut absolute = SHARES.map(|(_, share)| {
        QUANTILES.map(|(_, quantile)| {
            Figure::new(format!("POST to result at {share}, {quantile}"), Unit::Seconds, None)
        })
    });
    let name = "POST to result, p99 at 70 % by 10 %";
    let mut ratio = Figure::new(name, Unit::Seconds, Some(THRESHOLD));
    for _ in bench.rounds("busy") {
        let [quiet, busy] = measure_round(bench, &mut capacity, &mut absolute).await?;
        ratio.add(busy, quiet);
    }
    Ok([capacity].into_iter().chain(absolute.into_iter().flatten()).chain([ratio]).collect())
}

/// The p99 at each share, in seconds.
async fn measure_round(
    bench: &Bench,
    capacity: &mut Figure,
    figures: &mut [[Figure; 2]; 2],
) -> Result<[f64; 2]> {
    let database = bench.system.database(StoreKind::Sqlite).await?;
    let web = bench.system.web_service(&database).await?;
    let processor = bench.system.echo_processor(WORKERS).await?;
    let closed = load::post_and_wait(web.address, CLIENTS, bench.scale);
    let most = bench.other_load.during(closed).await?.per_second;
    capacity.add_without_floor(most);
    let mut p99 = [0.0; 2];
    for (at, (share, _)) in SHARES.into_iter().enumerate() {
        let histogram = open_loop(bench, web.address, share * most).await?;
        for ((quantile, _), figure) in QUANTILES.into_iter().zip(&mut figures[at]) {
            let seconds = histogram.value_at_quantile(quantile) as f64 / 1e6;
            figure.add_without_floor(seconds);
            p99[at] = seconds;
        }
        figures[at][1].note("requests", Some(histogram.len() as f64));
        figures[at][1].note("longest ms", Some(histogram.max() as f64 / 1000.0));
    }
    web::stop(processor).await?;
    web.stop().await?;
    bench.system.purge().await?;
    Ok(p99)
}

/// The times from when each request was due to its result, in microseconds.
async fn open_loop(bench: &Bench, address: SocketAddr, per_second: f64) -> Result<Histogram<u64>> {
    let load = OpenLoad {
        connections: CONNECTIONS,
        per_second,
        warm_up: bench.scale.warm_up,
        duration: bench.scale.open_loop,
    };
    let histogram = bench.other_load.during(load.run(address)).await?;
    ensure!(!histogram.is_empty(), "no request was due within {:?}", bench.scale.open_loop);
    Ok(histogram)
}
