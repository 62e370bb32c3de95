//! Jobs: commands with many rows, executed in as many transactions as it takes for others not to wait for long.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
    vec,
};

use crate::{
    command::Reply,
    sqlite::{
        answer::{Answer, later},
        transaction::WriteTransaction,
    },
};

/// How long the rows of jobs may hold up a commit.
const MAX_TRANSACTION_TIME: Duration = Duration::from_millis(200);

/// Jobs that are not done, in the order of their turns.
#[derive(Default)]
pub(super) struct Jobs(VecDeque<Box<dyn Job>>);

impl Jobs {
    /// Adds a command that writes rows, each with an outcome of its own.
    pub(super) fn add<R: Send + 'static, O: Send + 'static>(
        &mut self,
        rows: Vec<R>,
        reply: Reply<Vec<O>>,
        write: fn(&WriteTransaction<'_>, &R) -> rusqlite::Result<O>,
    ) {
        let outcomes = Vec::with_capacity(rows.len());
        self.0.push_back(Box::new(Rows { rows: rows.into_iter(), outcomes, reply, write }));
    }

    /// Whether all are done.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops all, as what they have written was rolled back.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Executes rows until the time is over, at least one.
    pub(super) fn run(
        &mut self,
        tx: &WriteTransaction<'_>,
        answers: &mut Vec<Answer>,
    ) -> rusqlite::Result<()> {
        let until = Instant::now() + MAX_TRANSACTION_TIME;
        while let Some(job) = self.0.pop_front() {
            self.0.extend(job.run(tx, answers, until)?);
            if Instant::now() >= until {
                break;
            }
        }
        Ok(())
    }
}

trait Job: Send {
    /// Executes rows until this time, at least one. Returns the job if there are more.
    fn run(
        self: Box<Self>,
        tx: &WriteTransaction<'_>,
        answers: &mut Vec<Answer>,
        until: Instant,
    ) -> rusqlite::Result<Option<Box<dyn Job>>>;
}

struct Rows<R, O> {
    rows: vec::IntoIter<R>,
    /// Those of the rows that were written.
    outcomes: Vec<O>,
    reply: Reply<Vec<O>>,
    write: fn(&WriteTransaction<'_>, &R) -> rusqlite::Result<O>,
}

impl<R: Send + 'static, O: Send + 'static> Job for Rows<R, O> {
    fn run(
        mut self: Box<Self>,
        tx: &WriteTransaction<'_>,
        answers: &mut Vec<Answer>,
        until: Instant,
    ) -> rusqlite::Result<Option<Box<dyn Job>>> {
        while let Some(row) = self.rows.next() {
            match (self.write)(tx, &row) {
                Ok(outcome) => self.outcomes.push(outcome),
                Err(error) => return later(answers, self.reply, Err(error)).map(|()| None),
            }
            if Instant::now() >= until && self.rows.len() > 0 {
                return Ok(Some(self));
            }
        }
        later(answers, self.reply, Ok(self.outcomes)).map(|()| None)
    }
}
