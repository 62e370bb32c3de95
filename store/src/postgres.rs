//! PostgreSQL backend: a server, for several web services at once.
//!
//! A few connections, each owned by a task: one for urgent writes, one for all other writes, the rest for
//! reads. A task takes all commands that wait in its queue and writes rows of a kind in one statement, in
//! the order of their ids, so that two web services can't deadlock. A connection that fails is replaced;
//! the supervisor finds out whether the server can be reached.

mod batch;
mod callbacks;
mod clock;
mod error;
mod idempotency;
mod lookups;
mod parked;
mod reader;
mod replay;
mod requests;
mod results;
mod retention;
mod retries;
mod row;
mod server;
mod session;
mod supervisor;
mod writer;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, mpsc, watch},
    task::{AbortHandle, JoinHandle},
};

use crate::{
    backend::{Backend, QUEUE_CAPACITY},
    error::BadUrl,
    health::HealthMonitor,
    postgres::{server::Server, session::Session},
};

const READERS: usize = 2;

/// The tasks of a backend. They are aborted when its last clone is dropped; no caller waits then.
struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// Starts the tasks, which connect to the server.
pub(crate) fn open(url: &str, timeout: Duration) -> Result<Backend, BadUrl> {
    let server = Arc::new(Server::parse(url, timeout)?);
    let health = HealthMonitor::new();
    let (running, stopped) = watch::channel(());
    let session = || Session::new(server.clone(), health.clone(), running.clone());
    let (urgent_writes, urgent_commands) = mpsc::channel(QUEUE_CAPACITY);
    let (writes, commands) = mpsc::channel(QUEUE_CAPACITY);
    let mut tasks = vec![
        tokio::spawn(supervisor::run(server.clone(), health.clone())),
        tokio::spawn(writer::run(session(), urgent_commands)),
        tokio::spawn(writer::run(session(), commands)),
    ];
    let (reads, commands) = mpsc::channel(QUEUE_CAPACITY);
    let commands = Arc::new(Mutex::new(commands));
    for _ in 0..READERS {
        let session = session().for_reading(urgent_writes.downgrade());
        tasks.push(tokio::spawn(reader::run(session, commands.clone())));
    }
    let tasks = Tasks(tasks.iter().map(JoinHandle::abort_handle).collect());
    Ok(Backend { urgent_writes, writes, reads, health, stopped, _tasks: Arc::new(tasks) })
}
