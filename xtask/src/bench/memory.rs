//! Memory of the web service: at rest, after load, and for each client that waits for a result.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use tokio::time::sleep;

use super::{
    Bench,
    client::Client,
    figure::{Figure, Hold, Unit},
    load,
    stage::Kind,
    usage,
    web::Web,
};

const MIB: f64 = 1024.0 * 1024.0;
/// How many connections there were, and the most memory that may be taken after them.
const LOADS: [(usize, f64); 2] = [(64, 40.0), (512, 64.0)];
const IDLE: f64 = 20.0;

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let figure =
        |name: String, most: f64| Figure::new(name, Unit::Bytes, Some(Hold::AtMost(most * MIB)));
    let mut idle = figure("memory of the web service, idle".to_owned(), IDLE);
    let mut loaded = LOADS.map(|(connections, most)| {
        figure(format!("memory of the web service, after {connections} connections"), most)
    });
    let name = format!("memory for each of {} waiting clients", bench.scale.waiting);
    let mut waiting = Figure::new(name, Unit::Bytes, None);
    for _ in bench.rounds("memory") {
        let database = bench.stage.database(Kind::Sqlite).await?;
        let web = bench.stage.web(&database).await?;
        idle.add_alone(memory(&web).await?);
        for (figure, (connections, _)) in loaded.iter_mut().zip(LOADS) {
            load::posts(web.address, connections, bench.scale).await?;
            figure.add_alone(memory(&web).await?);
        }
        web.stop().await?;
        // What others have left could be given to those who wait, and what they leave to others.
        let web = bench.stage.web(&database).await?;
        waiting.add_alone(per_waiter(&web, bench.scale.waiting).await?);
        web.stop().await?;
        bench.stage.purge().await?;
    }
    Ok([idle].into_iter().chain(loaded).chain([waiting]).collect())
}

/// What each client takes that waits for the result of a request.
async fn per_waiter(web: &Web, count: usize) -> Result<f64> {
    let mut clients = try_join_all((0..count).map(|_| Client::connect(web.address))).await?;
    let paths = try_join_all(clients.iter_mut().map(post)).await?;
    let before = memory(web).await?;
    let waiting = clients.iter_mut().zip(&paths).map(|(client, path)| client.get_and_wait(path));
    tokio::select! {
        answered = try_join_all(waiting) => {
            answered?;
            anyhow::bail!("there were results of requests that nobody works on");
        }
        after = memory(web) => Ok((after? - before) / count as f64),
    }
}

async fn post(client: &mut Client) -> Result<String> {
    Ok(format!("/api/v1/requests/{}", client.post().await?.id()?))
}

/// What it takes when that has stopped changing.
async fn memory(web: &Web) -> Result<f64> {
    const PAUSE: Duration = Duration::from_millis(250);
    let mut last = f64::NAN;
    loop {
        sleep(PAUSE).await;
        let now = usage::memory(web.program.pid());
        let now = now.context("this system does not tell how much memory a process takes")?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
}
