//! The thread that writes: opens the file, and executes the commands of its queue in batches, each in one
//! transaction.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pipeline::backoff::Backoff;
use rusqlite::Connection;
use tokio::sync::mpsc::Receiver;

use crate::{
    command::Write,
    error::StoreError,
    health::HealthMonitor,
    sqlite::{
        commands,
        file::{File, FileError, Identity},
        jobs::Jobs,
    },
};

/// The pause after a failed attempt to open the file.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// How many commands share a commit at most.
const MAX_BATCH_COMMANDS: usize = 512;
/// A batch with this many commands at least makes the writer wait for more before the next commit.
const MIN_CROWD: usize = 4;
/// How long the writer then waits, once: each time that it is woken costs as much as a row.
const GATHER_TIME: Duration = Duration::from_micros(800);

pub(super) struct Writer {
    file: Arc<File>,
    health: HealthMonitor,
    commands: Receiver<Write>,
    /// Commands with many rows that are not done.
    jobs: Jobs,
    /// A file that can be opened, and yet takes no writes, is tried less and less often; not one that was locked.
    backoff: Backoff,
    /// How many commands the last batch had.
    last_batch: usize,
}

impl Writer {
    pub(super) fn new(file: Arc<File>, health: HealthMonitor, commands: Receiver<Write>) -> Self {
        let (jobs, backoff) = (Jobs::default(), Backoff::storing());
        Self { file, health, commands, jobs, backoff, last_batch: 0 }
    }

    /// Executes commands until the queue is closed. After an error the file is opened anew. The readers are
    /// the threads that read the same file; their queue is closed by then.
    pub(super) fn run(mut self, readers: Vec<JoinHandle<()>>) {
        while let Some((mut connection, identity)) = self.open() {
            let opened = Instant::now();
            match self.execute_commands(&mut connection, identity) {
                Ok(()) => return close_last(connection, readers),
                Err(error) => {
                    // A file that is gone, or on a full disk, is not held meanwhile.
                    drop(connection);
                    self.jobs.clear();
                    if error.is_busy() {
                        // It can't be opened before it takes writes.
                        self.backoff.reset();
                    }
                    let pause = self.backoff.next_pause_after(opened.elapsed());
                    self.pause(pause);
                }
            }
        }
    }

    /// Opens the file, however long that takes. None when the queue is closed.
    fn open(&mut self) -> Option<(Connection, Identity)> {
        while !self.commands.is_closed() {
            match self.file.open_to_write() {
                Ok(opened) => {
                    self.health.set_opened();
                    return Some(opened);
                }
                Err(error) => {
                    self.health.set_away(&error.to_string());
                    self.pause(RETRY_INTERVAL);
                }
            }
        }
        None
    }

    /// Executes commands until the queue is closed, or until the file fails.
    fn execute_commands(
        &mut self,
        connection: &mut Connection,
        identity: Identity,
    ) -> Result<(), FileError> {
        let mut batch = Vec::with_capacity(MAX_BATCH_COMMANDS);
        loop {
            let are_jobs_slow = !self.jobs.is_empty();
            self.receive(&mut batch);
            if batch.is_empty() && !are_jobs_slow {
                return Ok(());
            }
            self.last_batch = batch.len();
            if are_jobs_slow && !batch.is_empty() {
                self.transact(connection, identity, &mut batch, false)?;
            }
            self.transact(connection, identity, &mut batch, true)?;
        }
    }

    /// Executes all commands, and a part of the jobs if `with_jobs`, in one transaction. If that succeeds, everything
    /// is on disk. The callers of commands that were not executed learn it by their replies being dropped.
    fn transact(
        &mut self,
        connection: &mut Connection,
        identity: Identity,
        batch: &mut Vec<Write>,
        with_jobs: bool,
    ) -> Result<(), FileError> {
        let (mut answers, mut commands) = (Vec::with_capacity(batch.len()), batch.drain(..));
        let committed = self.file.check_identity(identity).and_then(|()| {
            let (commands, jobs) = (&mut commands, &mut self.jobs);
            let done = commands::execute_all(connection, commands, jobs, with_jobs, &mut answers);
            done.map_err(|error| self.file.error(error))
        });
        let outcome = match &committed {
            Ok(()) => {
                self.health.set_committed();
                Ok(())
            }
            Err(error) => {
                self.health.set_away(&error.to_string());
                Err(StoreError::Unavailable(error.to_string()))
            }
        };
        answers.into_iter().for_each(|answer| answer(outcome.clone()));
        committed
    }

    /// Takes the commands that wait. If there is nothing else to do, waits for some; none come when the queue is closed.
    fn receive(&mut self, batch: &mut Vec<Write>) {
        if self.jobs.is_empty() {
            self.gather();
            self.commands.blocking_recv_many(batch, MAX_BATCH_COMMANDS);
            return;
        }
        while batch.len() < MAX_BATCH_COMMANDS
            && let Ok(command) = self.commands.try_recv()
        {
            batch.push(command);
        }
    }

    /// Waits a moment for twice as many commands as the last batch had, if those were many: callers who have just
    /// got an answer are about to send the next command, and a commit for many costs little more than one
    /// for a few. With as many as before the batches would stay as small as they happen to be. A single caller never waits.
    fn gather(&self) {
        let enough = (2 * self.last_batch).min(MAX_BATCH_COMMANDS);
        if self.last_batch >= MIN_CROWD && self.commands.len() < enough {
            thread::sleep(GATHER_TIME);
        }
    }

    /// Waits. Commands that are in the queue, or come into it, are dropped: the store is unavailable.
    fn pause(&mut self, pause: Duration) {
        let end = Instant::now() + pause;
        while Instant::now() < end && !self.commands.is_closed() {
            while self.commands.try_recv().is_ok() {}
            let left = end.saturating_duration_since(Instant::now());
            thread::sleep(left.min(RETRY_INTERVAL));
        }
    }
}

/// Closes the connection when those of the readers are closed: the last one moves the log into the file. Of
/// two that are closed at once each takes the other for one that stays, and the log would be left.
fn close_last(connection: Connection, readers: Vec<JoinHandle<()>>) {
    readers.into_iter().for_each(|reader| drop(reader.join()));
    drop(connection);
}
