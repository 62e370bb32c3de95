//! Latency: one client, from its POST to the result, with a processor that adds no work; beside a bare client and a bare
//! worker that do the same two confirmed publishes and two deliveries.

use std::{net::SocketAddr, time::Instant};

use anyhow::Result;

use super::{
    Bench,
    apart::apart,
    bare,
    client::Client,
    figure::{Figure, Hold, Unit, quantile},
    stage::Kind,
    web,
};

/// The most that the median, and the slowest of a hundred, may be of the bare ones.
const HOLDS: [(&str, f64, f64); 2] = [("p50", 0.5, 1.40), ("p99", 0.99, 1.7)];

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut all: Vec<_> =
        bench.stage.kinds().into_iter().map(|kind| (kind, figures(kind))).collect();
    for _ in bench.rounds("latency") {
        let bare =
            bench.usage.during(bare::round_trips(&bench.stage, bench.scale.one_by_one)).await?;
        let bare = after_warm_up(bare);
        bench.stage.purge().await?;
        for (kind, figures) in &mut all {
            let times = with(bench, *kind).await?;
            for (figure, (_, part, _)) in figures.iter_mut().zip(HOLDS) {
                figure.add(quantile(times.clone(), part), quantile(bare.clone(), part));
            }
        }
    }
    Ok(all.into_iter().flat_map(|(_, figures)| figures).collect())
}

fn figures(kind: Kind) -> [Figure; 2] {
    HOLDS.map(|(name, _, worst)| {
        let name = format!("POST to result, one client, {kind}, {name}");
        Figure::new(name, Unit::Seconds, Some(Hold::AtMost(worst)))
    })
}

async fn with(bench: &Bench, kind: Kind) -> Result<Vec<f64>> {
    let database = bench.stage.database(kind).await?;
    let web = bench.stage.web(&database).await?;
    let echo = bench.stage.echo().await?;
    let times = posts(web.address, bench.scale.one_by_one);
    let times = bench.usage.during(times).await?;
    web::stop(echo).await?;
    web.stop().await?;
    Ok(times)
}

async fn posts(address: SocketAddr, count: usize) -> Result<Vec<f64>> {
    apart(move || async move {
        let mut client = Client::connect(address).await?;
        let mut times = Vec::new();
        for _ in 0..count {
            let began = Instant::now();
            client.post_and_wait().await?;
            times.push(began.elapsed().as_secs_f64());
        }
        Ok(after_warm_up(times))
    })
    .await
}

/// The first tenth finds caches cold.
fn after_warm_up(mut times: Vec<f64>) -> Vec<f64> {
    times.split_off(times.len() / 10)
}
