//! The store on a server: PostgreSQL, for several web services at once.
//!
//! A few connections, each owned by a task: one accepts, one takes all other writes, the rest read.
//! A task takes all that waits in its queue and sends rows of a kind in one statement, in the order
//! of their ids, so that two web services never wait for each other in a circle. A connection that
//! fails is thrown away; the supervisor says when the server is there.

mod accept;
mod batch;
mod callbacks;
mod claim;
mod clock;
mod finish;
mod line;
mod look;
mod park;
mod row;
mod server;
mod supervisor;
mod tend;
mod trouble;
mod worker;

use std::sync::Arc;

use tokio::{
    sync::{Mutex, Notify, mpsc, watch},
    task::{AbortHandle, JoinHandle},
};

use self::{line::Line, server::Server};
use super::{BadUrl, QUEUE, Store, StoreOptions, Workers, health::Monitor};

const READERS: usize = 2;

/// The tasks of a store. They end with it; nobody can be waiting for them then.
struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

pub(super) fn open(url: &str, options: &StoreOptions) -> Result<Store, BadUrl> {
    let server = Arc::new(Server::parse(url, options.patience)?);
    let health = Monitor::new();
    let (alive, here) = watch::channel(());
    let line = || Line::new(server.clone(), health.clone(), alive.clone());
    let (accepts, new) = mpsc::channel(QUEUE);
    let (writes, changes) = mpsc::channel(QUEUE);
    let (reads, questions) = mpsc::channel(QUEUE);
    let questions = Arc::new(Mutex::new(questions));
    let mut tasks = vec![
        tokio::spawn(supervisor::run(server.clone(), health.clone())),
        tokio::spawn(worker::write(line(), new)),
        tokio::spawn(worker::write(line(), changes)),
    ];
    for _ in 0..READERS {
        let line = line().for_reading(accepts.downgrade());
        tasks.push(tokio::spawn(worker::read(line, questions.clone())));
    }
    let tasks = Tasks(tasks.iter().map(JoinHandle::abort_handle).collect());
    let workers = Workers { here, _tasks: Arc::new(tasks) };
    let (bell, patience) = (Arc::new(Notify::new()), options.patience);
    Ok(Store { accepts, writes, reads, health, bell, patience, workers })
}
