//! A thread that reads.

use std::sync::{Arc, Mutex, PoisonError};

use pipeline::contract::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use tokio::sync::mpsc::Receiver;
use uuid::Uuid;

use super::{callbacks, file::File, list, row};
use crate::{
    Ended, Found, Origin, Record, Status, StoreError, Summary,
    command::{Read, Reply},
    health::Monitor,
    sql::{self, summary, with_callbacks},
};

/// How many questions a thread takes at once: few, so that the others have some too.
const BATCH: usize = 16;
/// The result follows the columns of the summary.
const RESULT: usize = sql::SUMMARY;

const GET: &str = concat!("SELECT ", summary!(), ", result", with_callbacks!(), "WHERE id = $1");
const GET_SUMMARY: &str = concat!("SELECT ", summary!(), with_callbacks!(), "WHERE id = $1");

pub(super) struct Reader {
    file: Arc<File>,
    health: Monitor,
    questions: Arc<Mutex<Receiver<Read>>>,
    /// The connection, and which opening of the file it belongs to.
    connection: Option<(Connection, u64)>,
}

impl Reader {
    pub(super) fn new(
        file: Arc<File>,
        health: Monitor,
        questions: Arc<Mutex<Receiver<Read>>>,
    ) -> Self {
        Self { file, health, questions, connection: None }
    }

    /// Works until nobody can ask any more.
    pub(super) fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.take(&mut batch) > 0 {
            batch.drain(..).for_each(|question| self.answer(question));
        }
    }

    fn take(&self, batch: &mut Vec<Read>) -> usize {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        questions.blocking_recv_many(batch, BATCH)
    }

    fn answer(&mut self, question: Read) {
        match question {
            Read::Get(id, reply) => self.reply(reply, |connection| get(connection, id)),
            Read::GetMany(ids, reply) => self.reply(reply, |connection| get_many(connection, &ids)),
            Read::Ended(ids, reply) => self.reply(reply, |connection| ended(connection, &ids)),
            Read::Origin(id, reply) => self.reply(reply, |connection| origin(connection, id)),
            Read::Clock(reply) => drop(reply.send(Ok(Timestamp::now()))),
            Read::List(wanted, reply) => {
                self.reply(reply, |connection| list::page(connection, &wanted));
            }
            Read::NextCallback(full, reply) => {
                self.reply(reply, |connection| callbacks::next(connection, &full));
            }
            Read::Parked(letters, reply) => {
                self.reply(reply, |connection| list::letters(connection, &letters));
            }
            Read::ParkedMessage(number, reply) => self.reply(reply, |connection| {
                let mut statement = connection.prepare_cached(sql::PARKED_MESSAGE)?;
                statement.query_row([number], row::parked).optional()
            }),
        }
    }

    fn reply<T>(&mut self, reply: Reply<T>, look: impl Fn(&Connection) -> rusqlite::Result<T>) {
        // A second try finds out whether it is the file or only this connection.
        let answer = self.look(&look).or_else(|_| self.look(&look));
        let answer = answer.map_err(|error| StoreError::Unavailable(self.file.explain(&error)));
        drop(reply.send(answer));
    }

    fn look<T>(
        &mut self,
        look: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let opening = self.health.openings();
        let (connection, _) = match self.connection.take_if(|(_, of)| *of == opening) {
            Some(open) => self.connection.insert(open),
            None => self.connection.insert((self.file.open_to_read()?, opening)),
        };
        let answer = look(connection);
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }
}

fn get(connection: &Connection, id: Uuid) -> rusqlite::Result<Found> {
    let mut statement = connection.prepare_cached(GET)?;
    let found = statement.query_row([id.as_bytes()], |row| {
        Ok(Record { summary: row::summary(row)?, result: row.get(RESULT)? })
    });
    Ok(match found.optional()? {
        Some(request) => Found::Record(Box::new(request)),
        None if row::is_buried(connection, id)? => Found::Expired,
        None => Found::Unknown,
    })
}

fn get_many(connection: &Connection, ids: &[Uuid]) -> rusqlite::Result<Vec<Summary>> {
    let mut statement = connection.prepare_cached(GET_SUMMARY)?;
    let found = ids.iter().map(|id| statement.query_row([id.as_bytes()], row::summary).optional());
    found.filter_map(Result::transpose).collect()
}

fn ended(connection: &Connection, ids: &[Uuid]) -> rusqlite::Result<Vec<Ended>> {
    let mut statement = connection.prepare_cached(sql::STATE)?;
    let mut one = |id: Uuid| -> rusqlite::Result<Option<Ended>> {
        let how = statement
            .query_row([id.as_bytes()], |row| Ok((Status::from_number(row.get(0)?), row.get(1)?)));
        Ok(match how.optional()? {
            Some((Status::Queued, _)) => None,
            Some(how) => Some(Ended { id, how: Some(how) }),
            None => row::is_buried(connection, id)?.then_some(Ended { id, how: None }),
        })
    };
    ids.iter().filter_map(|id| one(*id).transpose()).collect()
}

fn origin(connection: &Connection, id: Uuid) -> rusqlite::Result<Origin> {
    let mut statement = connection.prepare_cached(sql::ORIGIN)?;
    let origin = statement
        .query_row([id.as_bytes()], |row| Ok(Origin { trace: row.get(0)?, data: row.get(1)? }));
    Ok(origin.optional()?.unwrap_or_default())
}
