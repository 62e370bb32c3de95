//! The store in a file: SQLite with a write-ahead log, every commit on disk before it is answered.
//!
//! One thread writes, so nobody ever waits for a lock; it takes all that waits in its queue into
//! one transaction. A few threads read, each with a connection of its own, and are never held up by
//! the one that writes. Threads, not tasks: a disk can take its time.

mod callbacks;
mod file;
mod list;
mod reader;
mod row;
mod write;
mod writer;

use std::{
    sync::{Arc, Mutex},
    thread,
};

use tokio::sync::{Notify, mpsc, watch};

use self::{file::File, reader::Reader, writer::Writer};
use super::{BadUrl, QUEUE, Store, StoreOptions, Workers, health::Monitor};

const READERS: usize = 2;

pub(super) fn open(url: &str, options: &StoreOptions) -> Result<Store, BadUrl> {
    let file = Arc::new(File::parse(url, options.patience)?);
    let (alive, here) = watch::channel(());
    let health = Monitor::new();
    let (writes, commands) = mpsc::channel(QUEUE);
    let writer = Writer::new(file.clone(), health.clone(), commands);
    start("store-writer", alive.clone(), move || writer.run())?;
    let (reads, questions) = mpsc::channel(QUEUE);
    let questions = Arc::new(Mutex::new(questions));
    for _ in 0..READERS {
        let reader = Reader::new(file.clone(), health.clone(), questions.clone());
        start("store-reader", alive.clone(), move || reader.run())?;
    }
    let (accepts, bell, patience) = (writes.clone(), Arc::new(Notify::new()), options.patience);
    let workers = Workers { here, _tasks: Arc::new(()) };
    Ok(Store { accepts, writes, reads, health, bell, patience, workers })
}

/// Starts a thread, which ends when the last sender is gone.
fn start(
    name: &str,
    alive: watch::Sender<()>,
    work: impl FnOnce() + Send + 'static,
) -> Result<(), BadUrl> {
    let work = move || {
        work();
        drop(alive);
    };
    let started = thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map(drop).map_err(|error| BadUrl(format!("no thread for the store: {error}")))
}
