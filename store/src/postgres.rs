//! PostgreSQL backend: a server, for several web services at once.
//!
//! A few connections, each owned by a task: one for the writes of each queue, so that a slow one holds up only its
//! like, and the rest for reads. A task takes all commands that wait in its queue and writes rows of a kind in one statement, in
//! the order of their ids, so that two web services can't deadlock. A connection that fails is replaced;
//! the supervisor finds out whether the server can be reached.

mod attempts;
mod batch;
mod bulk_runs;
pub(crate) mod callbacks;
mod clock;
mod error;
mod groups;
mod idempotency;
mod inspection;
mod list;
mod lookups;
mod overview;
mod parked;
mod reader;
mod replay;
mod requests;
mod results;
mod retention;
mod retries;
mod retry_now;
mod row;
mod server;
mod session;
mod stats;
mod supervisor;
mod writer;

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, watch};

use crate::{
    backend::{Backend, QUEUE_CAPACITY, Tasks},
    error::BadUrl,
    health::HealthMonitor,
    options::StoreOptions,
    postgres::{
        server::Server,
        session::{Duty, Session},
    },
};

const READERS: usize = 2;

/// Whether the URL can be used.
pub(crate) fn check_url(url: &str, options: &StoreOptions) -> Result<(), BadUrl> {
    Server::parse(url, options).map(drop)
}

/// Starts the tasks, which connect to the server.
pub(crate) fn open(url: &str, options: &StoreOptions) -> Result<Backend, BadUrl> {
    let server = Arc::new(Server::parse(url, options)?);
    let health = HealthMonitor::new();
    let (running, stopped) = watch::channel(());
    let session = |duty| Session::new(server.clone(), health.clone(), duty, running.clone());
    let mut tasks = vec![tokio::spawn(supervisor::run(server.clone(), health.clone()))];
    let duties = [Duty::Carry, Duty::Write, Duty::Carry];
    let [urgent_writes, client_writes, background_writes] = duties.map(|duty| {
        let (writes, commands) = mpsc::channel(QUEUE_CAPACITY);
        tasks.push(tokio::spawn(writer::run(session(duty), commands)));
        writes
    });
    let (reads, commands) = mpsc::channel(QUEUE_CAPACITY);
    let commands = Arc::new(Mutex::new(commands));
    for _ in 0..READERS {
        tasks.push(tokio::spawn(reader::run(session(Duty::Read), commands.clone())));
    }
    let _tasks = Arc::new(Tasks::of(&tasks));
    Ok(Backend { urgent_writes, client_writes, background_writes, reads, health, stopped, _tasks })
}
