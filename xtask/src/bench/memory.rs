//! Memory of the services: idle, and of the web service after load, and per client that waits for a result.

use anyhow::Result;
use futures_util::future::try_join_all;
use testbed::program::Running;

use super::{
    context::Bench,
    figure::{Figure, Threshold, Unit},
    http_client::HttpClient,
    load,
    process_usage::{anonymous_memory, settled_memory},
    system::StoreKind,
    web::{self, WebService},
};

const MIB: f64 = 1024.0 * 1024.0;
/// The number of connections, and the most MiB that the service may use after them.
const LOADS: [(usize, f64); 2] = [(64, 40.0), (512, 64.0)];
/// The most MiB that the idle services may use.
const MAX_IDLE_MIB: f64 = 16.0;
const MAX_IDLE_PROCESSOR_MIB: f64 = 12.0;

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let figure = |name: String, most: f64| {
        Figure::new(name, Unit::Bytes, Some(Threshold::AtMost(most * MIB)))
    };
    let mut idle = figure("memory of the web service, idle".to_owned(), MAX_IDLE_MIB);
    let name = "memory of the processor, idle".to_owned();
    let mut idle_processor = figure(name, MAX_IDLE_PROCESSOR_MIB);
    let mut loaded = LOADS.map(|(connections, most)| {
        figure(format!("memory of the web service, after {connections} connections"), most)
    });
    let name = format!("memory for each of {} waiting clients", bench.scale.waiting_clients);
    let mut waiting = Figure::new(name, Unit::Bytes, None);
    for _ in bench.rounds("memory") {
        let database = bench.system.database(StoreKind::Sqlite).await?;
        let web = bench.system.web_service(&database).await?;
        add_idle(&mut idle, &web.program).await?;
        let processor = bench.system.processor_service().await?;
        add_idle(&mut idle_processor, &processor).await?;
        web::stop(processor).await?;
        for (figure, (connections, _)) in loaded.iter_mut().zip(LOADS) {
            load::post(web.address, connections, bench.scale).await?;
            figure.add_without_floor(settled_memory(&web.program).await?);
        }
        web.stop().await?;
        // A new process: the memory that load has left behind would be reused for the waiting clients.
        let web = bench.system.web_service(&database).await?;
        waiting.add_without_floor(per_waiter(&web, bench.scale.waiting_clients).await?);
        web.stop().await?;
        bench.system.purge().await?;
    }
    Ok([idle, idle_processor].into_iter().chain(loaded).chain([waiting]).collect())
}

/// Notes how much of the memory is not of the program's file, of which other processes have the same pages.
async fn add_idle(figure: &mut Figure, program: &Running) -> Result<()> {
    figure.add_without_floor(settled_memory(program).await?);
    figure.note("anonymous MiB", anonymous_memory(program.pid()).map(|bytes| bytes / MIB));
    Ok(())
}

/// The bytes per client that waits for the result of a request.
async fn per_waiter(web: &WebService, count: usize) -> Result<f64> {
    let mut clients = try_join_all((0..count).map(|_| HttpClient::connect(web.address))).await?;
    let paths = try_join_all(clients.iter_mut().map(post)).await?;
    let before = settled_memory(&web.program).await?;
    let waiting = clients.iter_mut().zip(&paths).map(|(client, path)| client.get_and_wait(path));
    tokio::select! {
        answered = try_join_all(waiting) => {
            answered?;
            anyhow::bail!("there are results though no processor runs");
        }
        after = settled_memory(&web.program) => Ok((after? - before) / count as f64),
    }
}

async fn post(client: &mut HttpClient) -> Result<String> {
    Ok(format!("/api/v1/requests/{}", client.post().await?.id()?))
}
