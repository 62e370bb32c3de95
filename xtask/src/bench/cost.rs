//! Cost: memory while very many requests wait, and the bytes that a request takes on disk.

use std::fs;

use anyhow::{Context, Result};

use super::{
    context::Bench,
    figure::{Figure, Unit},
    load, process_usage,
    results::{all_stored, wait_for_results},
    system::{Database, StoreKind},
    web,
};
use crate::console;

const CONNECTIONS: usize = 256;
/// The processor that works off what waits.
const WORKERS: usize = 8;
const PREFETCH: u16 = 16;

/// Sizes hardly differ between rounds: each is measured once.
pub(super) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = measure_backlog(bench).await.context("with a backlog")?;
    for kind in bench.system.store_kinds() {
        console::step("bench", format!("cost, requests that have ended, {kind}"));
        figures.push(measure_disk(bench, kind).await.with_context(|| format!("on {kind}"))?);
    }
    Ok(figures)
}

/// The memory of both services, and the size of the database, while requests wait.
async fn measure_backlog(bench: &Bench) -> Result<Vec<Figure>> {
    let (system, count) = (&bench.system, bench.scale.backlog);
    console::step("bench", format!("cost, {count} requests wait"));
    let database = system.database(StoreKind::Sqlite).await?;
    let web = system.web_service(&database).await?;
    load::post_count(web.address, CONNECTIONS, count).await?;
    let mut of_web = figure(format!("memory of the web service, {count} requests wait"));
    of_web.add_without_floor(process_usage::settled_memory(&web.program).await?);
    let broker = process_usage::memory(system.broker_pid());
    of_web.note("broker MiB", broker.map(|bytes| bytes / 1024.0 / 1024.0));
    let mut disk = figure("disk for each request that waits, SQLite".to_owned());
    disk.add_without_floor(size(bench, &database).await? / count as f64);
    let processor = system.starting_echo_processor(WORKERS, PREFETCH)?;
    wait_for_results(&web.program, count / 50).await?;
    let mut of_processor = figure(format!("memory of the processor, {count} requests wait"));
    let memory = process_usage::memory(processor.pid());
    of_processor
        .add_without_floor(memory.context("this system does not show the memory of a process")?);
    web::stop(processor).await?;
    web.stop().await?;
    system.purge().await?;
    Ok(vec![of_web, of_processor, disk])
}

/// The bytes on disk for each request with its result. What an empty database takes does not count.
async fn measure_disk(bench: &Bench, kind: StoreKind) -> Result<Figure> {
    let (system, count) = (&bench.system, bench.scale.results);
    let database = system.database(kind).await?;
    let web = system.web_service(&database).await?;
    let empty = size(bench, &database).await?;
    load::post_count(web.address, CONNECTIONS, count).await?;
    let processor = system.starting_echo_processor(WORKERS, PREFETCH)?;
    all_stored(&web.program, count).await?;
    let mut disk = figure(format!("disk for each request that has ended, {kind}"));
    disk.add_without_floor((size(bench, &database).await? - empty) / count as f64);
    web::stop(processor).await?;
    web.stop().await?;
    system.purge().await?;
    Ok(disk)
}

/// The bytes of a database: with SQLite, of its files, the write-ahead log among them.
async fn size(bench: &Bench, database: &Database) -> Result<f64> {
    let Some(folder) = database.folder() else {
        return bench.system.postgres_size(database).await;
    };
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes as f64)
}

fn figure(name: String) -> Figure {
    Figure::new(name, Unit::Bytes, None)
}
