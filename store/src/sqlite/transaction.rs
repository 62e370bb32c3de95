//! A write transaction: prepared statements, and one moment for all that is done in it.

use std::ops::Deref;

use pipeline::contract::Timestamp;
use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Params, Row, Transaction, TransactionBehavior,
};

use crate::sqlite::stats::Tally;

/// A transaction of the writer. It is rolled back when it is dropped before the commit.
pub(super) struct WriteTransaction<'c> {
    transaction: Transaction<'c>,
    /// The moment of all that is done in it.
    pub(super) now: Timestamp,
    /// What has happened in it, to be counted.
    pub(super) tally: Tally,
}

/// The database refused a row because of its data; the transaction goes on without it.
pub(super) struct RowRefused(pub(super) String);

impl<'c> WriteTransaction<'c> {
    pub(super) fn begin(connection: &'c mut Connection) -> rusqlite::Result<Self> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        Ok(Self { transaction, now: Timestamp::now(), tally: Tally::default() })
    }

    /// Counts what has happened, and commits.
    pub(super) fn commit(self) -> rusqlite::Result<()> {
        self.tally.write(&self.transaction, self.now)?;
        self.transaction.commit()
    }

    /// Executes a statement and returns how many rows it changed.
    pub(super) fn execute(
        &self,
        sql: &'static str,
        values: impl Params,
    ) -> rusqlite::Result<usize> {
        self.transaction.prepare_cached(sql)?.execute(values)
    }

    /// Like [`Self::execute`], for rows that the database may refuse.
    pub(super) fn try_execute(
        &self,
        sql: &'static str,
        values: impl Params,
    ) -> rusqlite::Result<Result<usize, RowRefused>> {
        match self.execute(sql, values) {
            Err(error) if is_about_data(&error) => Ok(Err(RowRefused(error.to_string()))),
            other => other.map(Ok),
        }
    }

    /// Executes a statement that returns a row if it changes one, which the database may refuse.
    pub(super) fn try_change<T>(
        &self,
        sql: &'static str,
        values: impl Params,
        row: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Result<Option<T>, RowRefused>> {
        match self.transaction.prepare_cached(sql)?.query_row(values, row).optional() {
            Err(error) if is_about_data(&error) => Ok(Err(RowRefused(error.to_string()))),
            other => other.map(Ok),
        }
    }
}

impl Deref for WriteTransaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.transaction
    }
}

fn is_about_data(error: &rusqlite::Error) -> bool {
    let about_data = [ErrorCode::ConstraintViolation, ErrorCode::TooBig, ErrorCode::TypeMismatch];
    error.sqlite_error_code().is_some_and(|code| about_data.contains(&code))
}
