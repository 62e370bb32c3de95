//! A thread that reads: takes commands from the queue of reads, and executes them one by one.

use std::sync::{Arc, Mutex, PoisonError};

use pipeline::contract::Timestamp;
use rusqlite::Connection;
use tokio::sync::mpsc::Receiver;

use crate::{
    command::{Read, Reply},
    error::StoreError,
    health::HealthMonitor,
    sqlite::{
        attempts, bulk_runs, callbacks,
        file::{File, FileError},
        groups, list, lookups, overview, parked, stats,
    },
};

/// How many commands a thread takes at once: few, so that the other threads have some too.
const MAX_BATCH_COMMANDS: usize = 16;

pub(super) struct Reader {
    /// The connection, and for which opening of the store it was made. It is closed before the file is unlocked.
    connection: Option<(Connection, u64)>,
    file: Arc<File>,
    health: HealthMonitor,
    commands: Arc<Mutex<Receiver<Read>>>,
}

impl Reader {
    pub(super) fn new(
        file: Arc<File>,
        health: HealthMonitor,
        commands: Arc<Mutex<Receiver<Read>>>,
    ) -> Self {
        Self { file, health, commands, connection: None }
    }

    /// Executes commands until the queue is closed.
    pub(super) fn run(mut self) {
        let mut batch = Vec::with_capacity(MAX_BATCH_COMMANDS);
        while self.receive(&mut batch) > 0 {
            batch.drain(..).for_each(|command| self.execute(command));
        }
    }

    fn receive(&self, batch: &mut Vec<Read>) -> usize {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands.blocking_recv_many(batch, MAX_BATCH_COMMANDS)
    }

    fn execute(&mut self, command: Read) {
        match command {
            Read::Get(id, reply) => self.answer(reply, |reader| lookups::get(reader, id)),
            Read::GetMany(ids, reply) => {
                self.answer(reply, |reader| lookups::get_many(reader, &ids));
            }
            Read::GetEnded(ids, reply) => self.answer(reply, |reader| lookups::ended(reader, &ids)),
            Read::FailedAttempts(id, limit, reply) => {
                self.answer(reply, |reader| attempts::failed(reader, id, limit));
            }
            Read::GetOrigin(id, reply) => self.answer(reply, |reader| lookups::origin(reader, id)),
            Read::List(query, reply) => self.answer(reply, |reader| list::page(reader, &query)),
            Read::Count(filter, reply) => {
                self.answer(reply, |reader| list::count(reader, &filter));
            }
            Read::ListGroups(only_failed, limit, reply) => {
                self.answer(reply, |reader| groups::list(reader, only_failed, limit));
            }
            Read::GetGroup(id, reply) => self.answer(reply, |reader| groups::get(reader, id)),
            Read::ListParked(query, reply) => {
                self.answer(reply, |reader| parked::list(reader, &query));
            }
            Read::GetParked(number, reply) => {
                self.answer(reply, |reader| parked::get(reader, number));
            }
            Read::NextCallbackIn(full, reply) => {
                self.answer(reply, |reader| callbacks::next_in(reader, &full));
            }
            Read::Stats(query, reply) => self.answer(reply, |reader| stats::stats(reader, &query)),
            Read::GetBulkRun(id, reply) => {
                self.answer(reply, |reader| bulk_runs::get(reader, id));
            }
            Read::ListBulkRuns(limit, reply) => {
                self.answer(reply, |reader| bulk_runs::list(reader, limit));
            }
            Read::NextBulkRunIn(reply) => self.answer(reply, bulk_runs::next_in),
            Read::Overview(reply) => self.answer(reply, overview::overview),
            Read::Open(after, limit, reply) => {
                self.answer(reply, |reader| list::open(reader, after, limit));
            }
            Read::OpenBefore(kind, id, reply) => {
                self.answer(reply, |reader| lookups::open_before(reader, &kind, id));
            }
            Read::Clock(reply) => reply.send(Ok(Timestamp::now())),
            Read::Inspect(reply) => reply.send(Ok(self.file.inspect())),
        }
    }

    fn answer<T>(&mut self, reply: Reply<T>, read: impl Fn(&Connection) -> rusqlite::Result<T>) {
        // After a slow read many may have given up, and have asked again.
        if reply.is_abandoned() {
            return;
        }
        // The connection alone may be broken, so a second try takes a new one.
        let answer = self.read(&read).or_else(|_| self.read(&read));
        let answer = answer.map_err(|error| StoreError::Unavailable(error.to_string()));
        reply.send(answer);
    }

    fn read<T>(
        &mut self,
        read: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, FileError> {
        let openings = self.health.openings();
        let (connection, _) = match self.connection.take_if(|(_, of)| *of == openings) {
            Some(open) => self.connection.insert(open),
            None => self.connection.insert((self.file.open_to_read()?, openings)),
        };
        let answer = read(connection);
        if answer.is_err() {
            self.connection = None;
        }
        answer.map_err(|error| self.file.error(error))
    }
}
