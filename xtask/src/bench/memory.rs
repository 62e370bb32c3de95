//! Memory of the web service: idle, after load, and per client that waits for a result.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use tokio::time::sleep;

use super::{
    context::Bench,
    figure::{Figure, Threshold, Unit},
    http_client::HttpClient,
    load, process_usage,
    system::StoreKind,
    web::WebService,
};

const MIB: f64 = 1024.0 * 1024.0;
/// The number of connections, and the most MiB that the service may use after them.
const LOADS: [(usize, f64); 2] = [(64, 40.0), (512, 64.0)];
/// The most MiB that the idle service may use.
const MAX_IDLE_MIB: f64 = 20.0;
/// Memory is read in this interval until it no longer changes.
const MEMORY_POLL_INTERVAL: Duration = Duration::from_millis(250);

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let figure = |name: String, most: f64| {
        Figure::new(name, Unit::Bytes, Some(Threshold::AtMost(most * MIB)))
    };
    let mut idle = figure("memory of the web service, idle".to_owned(), MAX_IDLE_MIB);
    let mut loaded = LOADS.map(|(connections, most)| {
        figure(format!("memory of the web service, after {connections} connections"), most)
    });
    let name = format!("memory for each of {} waiting clients", bench.scale.waiting_clients);
    let mut waiting = Figure::new(name, Unit::Bytes, None);
    for _ in bench.rounds("memory") {
        let database = bench.system.database(StoreKind::Sqlite).await?;
        let web = bench.system.web_service(&database).await?;
        idle.add_without_floor(memory(&web).await?);
        for (figure, (connections, _)) in loaded.iter_mut().zip(LOADS) {
            load::post(web.address, connections, bench.scale).await?;
            figure.add_without_floor(memory(&web).await?);
        }
        web.stop().await?;
        // A new process: the memory that load has left behind would be reused for the waiting clients.
        let web = bench.system.web_service(&database).await?;
        waiting.add_without_floor(per_waiter(&web, bench.scale.waiting_clients).await?);
        web.stop().await?;
        bench.system.purge().await?;
    }
    Ok([idle].into_iter().chain(loaded).chain([waiting]).collect())
}

/// The bytes per client that waits for the result of a request.
async fn per_waiter(web: &WebService, count: usize) -> Result<f64> {
    let mut clients = try_join_all((0..count).map(|_| HttpClient::connect(web.address))).await?;
    let paths = try_join_all(clients.iter_mut().map(post)).await?;
    let before = memory(web).await?;
    let waiting = clients.iter_mut().zip(&paths).map(|(client, path)| client.get_and_wait(path));
    tokio::select! {
        answered = try_join_all(waiting) => {
            answered?;
            anyhow::bail!("there are results though no processor runs");
        }
        after = memory(web) => Ok((after? - before) / count as f64),
    }
}

async fn post(client: &mut HttpClient) -> Result<String> {
    Ok(format!("/api/v1/requests/{}", client.post().await?.id()?))
}

/// The service's memory in bytes, once it no longer changes.
async fn memory(web: &WebService) -> Result<f64> {
    let mut last = f64::NAN;
    loop {
        sleep(MEMORY_POLL_INTERVAL).await;
        let now = process_usage::memory(web.program.pid());
        let now = now.context("this system does not show the memory of a process")?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
}
