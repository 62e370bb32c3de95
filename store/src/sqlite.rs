//! SQLite backend: a file with a write-ahead log; every commit is on disk before it is answered.
//!
//! One thread writes, so no writer waits for a lock; it executes all commands that wait in its queue in
//! one transaction. Commands with many rows give way to the others from time to time. A few threads read, each with its own connection, and are never held up by the
//! writer. They are threads and not tasks because disk I/O blocks.

mod answer;
mod attempts;
mod bulk_runs;
pub(crate) mod callbacks;
mod checker;
mod commands;
mod file;
mod file_lock;
mod groups;
mod idempotency;
mod jobs;
mod list;
mod lookups;
mod overview;
mod parked;
mod reader;
mod replay;
mod requests;
mod results;
mod retention;
mod retry_now;
mod row;
mod stats;
mod transaction;
mod writer;

use std::{
    iter,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use pipeline::threads::give_way;
use tokio::sync::{mpsc, watch};

use crate::{
    backend::{Backend, QUEUE_CAPACITY, Tasks},
    error::BadUrl,
    health::HealthMonitor,
    options::StoreOptions,
    sqlite::{file::File, reader::Reader, writer::Writer},
};

const READERS: usize = 2;

/// Whether the URL can be used.
pub(crate) fn check_url(url: &str, options: &StoreOptions) -> Result<(), BadUrl> {
    File::parse(url, options).map(drop)
}

/// Starts the threads, which open the file.
pub(crate) fn open(url: &str, options: &StoreOptions) -> Result<Backend, BadUrl> {
    let file = Arc::new(File::parse(url, options)?);
    let health = HealthMonitor::new();
    let (running, stopped) = watch::channel(());
    let (reads, commands) = mpsc::channel(QUEUE_CAPACITY);
    let commands = Arc::new(Mutex::new(commands));
    let reader = || Reader::new(file.clone(), health.clone(), commands.clone());
    let readers = iter::repeat_with(reader).take(READERS);
    let readers = readers.map(|reader| start("store-reader", running.clone(), || reader.run()));
    let readers = readers.collect::<Result<Vec<_>, _>>()?;
    let (writes, commands) = mpsc::channel(QUEUE_CAPACITY);
    let writer = Writer::new(file.clone(), health.clone(), commands);
    start("store-writer", running, move || writer.run(readers))?;
    let limit = options.statement_timeout;
    let checker = tokio::spawn(checker::run(health.clone(), writes.downgrade(), limit));
    Ok(Backend {
        urgent_writes: writes.clone(),
        client_writes: writes.clone(),
        background_writes: writes,
        reads,
        health,
        stopped,
        _tasks: Arc::new(Tasks::of(&[checker])),
    })
}

/// Starts a thread, which ends when its queue is closed.
fn start(
    name: &str,
    running: watch::Sender<()>,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, BadUrl> {
    let work = move || {
        give_way();
        work();
        drop(running);
    };
    let started = thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map_err(|error| BadUrl(format!("no thread for the store: {error}")))
}
