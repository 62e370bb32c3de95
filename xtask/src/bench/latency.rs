//! Latency of one client from its POST to the result, with a processor that adds no work, beside a bare client and worker
//! that do the same two confirmed publishes and two deliveries.

use std::{net::SocketAddr, time::Instant};

use anyhow::Result;

use super::{
    bare_client,
    context::Bench,
    figure::{Figure, Threshold, Unit, quantile},
    http_client::HttpClient,
    load_thread::on_load_thread,
    system::StoreKind,
    web,
};

/// The quantiles, and the highest ratio of each to the same quantile of the bare client.
const QUANTILES: [(&str, f64, f64); 2] = [("p50", 0.5, 1.40), ("p99", 0.99, 1.7)];

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let kinds = bench.system.store_kinds().into_iter();
    let mut all: Vec<_> = kinds.map(|kind| (kind, figures(kind))).collect();
    for _ in bench.rounds("latency") {
        // What was left in the queues would be answered in place of what is published now.
        bench.system.purge().await?;
        let round_trips = bare_client::round_trips(&bench.system, bench.scale.sequential_requests);
        let floors = without_warm_up(bench.other_load.during(round_trips).await?);
        bench.system.purge().await?;
        for (kind, figures) in &mut all {
            let times = measure_web_service(bench, *kind).await?;
            for (figure, (_, part, _)) in figures.iter_mut().zip(QUANTILES) {
                figure.add(quantile(times.clone(), part), quantile(floors.clone(), part));
            }
        }
    }
    Ok(all.into_iter().flat_map(|(_, figures)| figures).collect())
}

fn figures(kind: StoreKind) -> [Figure; 2] {
    QUANTILES.map(|(name, _, most)| {
        let name = format!("POST to result, one client, {kind}, {name}");
        Figure::new(name, Unit::Seconds, Some(Threshold::AtMost(most)))
    })
}

/// The seconds that each request takes.
async fn measure_web_service(bench: &Bench, kind: StoreKind) -> Result<Vec<f64>> {
    let database = bench.system.database(kind).await?;
    let web = bench.system.web_service(&database).await?;
    let processor = bench.system.echo_processor(1).await?;
    let times = post_and_wait(web.address, bench.scale.sequential_requests);
    let times = bench.other_load.during(times).await?;
    web::stop(processor).await?;
    web.stop().await?;
    Ok(times)
}

async fn post_and_wait(address: SocketAddr, count: usize) -> Result<Vec<f64>> {
    on_load_thread(move || async move {
        let mut client = HttpClient::connect(address).await?;
        let mut times = Vec::new();
        for _ in 0..count {
            let start = Instant::now();
            client.post_and_wait().await?;
            times.push(start.elapsed().as_secs_f64());
        }
        Ok(without_warm_up(times))
    })
    .await
}

/// Removes the first tenth, which meets cold caches.
fn without_warm_up(mut times: Vec<f64>) -> Vec<f64> {
    times.split_off(times.len() / 10)
}
