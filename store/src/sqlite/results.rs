//! Applies results and records scheduled retries in SQLite.

use pipeline::contract::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use crate::{
    model::{
        request::{ScheduledRetry, Status},
        worker_result::{Applied, StoredResult, WorkerResult, not_stored},
    },
    sql::{has_history, is_better_end, is_end, unnamed_run},
    sqlite::{
        attempts, callbacks, groups,
        requests::UNKNOWN_TYPE,
        row,
        stats::Happened,
        transaction::{RowRefused, WriteTransaction},
    },
};

/// The run of a result, by the row of its request.
macro_rules! run {
    () => {
        concat!("COALESCE(?3, ", unnamed_run!("?2"), ")")
    };
}

/// The run that its request is in by then.
macro_rules! last_run {
    () => {
        concat!("max(", run!(), ", run)")
    };
}

/// What is known of a request that a result ends. What returns rows of an update makes a table for them, which takes longer
/// than to look at the row before.
macro_rules! ending {
    ($condition:ident) => {
        concat!(
            "SELECT type, callback_host IS NOT NULL, ",
            has_history!(last_run!()),
            ", ",
            last_run!(),
            " FROM requests WHERE id = ?1 AND ",
            $condition!("?2", run!())
        )
    };
}
const ENDING_QUEUED: &str = ending!(is_end);
const ENDING_FAILED: &str = ending!(is_better_end);
const UPDATE: &str = "UPDATE requests SET status = ?2, run = ?3, attempts = ?4, deliveries = ?5, \
     started_at = COALESCE(?6, started_at), finished_at = ?7, settled_at = ?8, worker = ?9, \
     error_code = ?10, error_message = ?11, result = ?12, next_attempt_at = NULL \
     WHERE id = ?1";
const INSERT: &str = "INSERT INTO requests (id, status, run, attempts, deliveries, started_at, \
    finished_at, settled_at, worker, error_code, error_message, result) \
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12 \
    WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE id = ?1)";
const STORED: &str =
    "SELECT status, run, noted_run, worker, finished_at, error_code FROM requests WHERE id = $1";
const TYPE: &str = "SELECT type FROM requests WHERE id = $1";
/// News of a run that is noted show that it was published.
const RECORD_RETRY: &str = "UPDATE requests SET attempts = $1, last_error = $2, next_attempt_at = $3, \
    run = $4 WHERE id = $5 AND status = 0 AND (run = $4 OR run < $4 AND noted_run >= $4) \
    AND attempts <= $1";

/// What a result knows and changes of its request.
struct EndingRequest {
    kind: String,
    has_callback: bool,
    has_history: bool,
    /// The run that it is in by then.
    run: u32,
}

/// Stores a result if it is the first final one of its run, and says what became of it.
pub(super) fn apply(tx: &WriteTransaction<'_>, new: &WorkerResult) -> rusqlite::Result<Applied> {
    if let Some(request) = ending(tx, ENDING_QUEUED, new)? {
        return end(tx, UPDATE, new, &request, Some(Status::Queued));
    }
    if let Some(stored) = stored(tx, new.id)? {
        return match ending(tx, ENDING_FAILED, new)? {
            Some(request) => end(tx, UPDATE, new, &request, Some(Status::Failed)),
            None => Ok(not_stored(Some(&stored), new)),
        };
    }
    let (kind, run) = (UNKNOWN_TYPE.to_owned(), new.run.unwrap_or(0));
    let request = EndingRequest { kind, has_callback: false, has_history: run > 0, run };
    end(tx, INSERT, new, &request, None)
}

/// Ends a request, and does what follows from that.
fn end(
    tx: &WriteTransaction<'_>,
    sql: &'static str,
    new: &WorkerResult,
    EndingRequest { kind, has_callback, has_history, run }: &EndingRequest,
    before: Option<Status>,
) -> rusqlite::Result<Applied> {
    match write(tx, sql, new, *run)? {
        Ok(0) => return Ok(not_stored(None, new)),
        Ok(_) => {}
        Err(RowRefused(reason)) => return Ok(Applied::BadRow(reason)),
    }
    let status = new.outcome.status();
    tx.tally.count(kind, Happened::Ended(status));
    tx.tally.turn(kind, before, Some(status));
    if before == Some(Status::Failed) {
        groups::leave(tx, new.id)?;
    }
    if *has_callback {
        tx.execute(callbacks::OF_ENDING, [new.id.as_bytes()])?;
    }
    // An attempt that completed is in the row of its request.
    if let Some(error) = new.outcome.error() {
        attempts::keep_failed(tx, new.id)?;
        groups::enter(tx, new.id, error, tx.now)?;
    }
    Ok(Applied::stored(*has_history))
}

pub(super) fn record_retry(
    tx: &WriteTransaction<'_>,
    retry: &ScheduledRetry,
) -> rusqlite::Result<()> {
    let next_attempt_at = retry.next_attempt_at.map(Timestamp::as_millis);
    let id = retry.id.as_bytes();
    let values = params![retry.attempts, retry.last_error(), next_attempt_at, retry.run, id];
    let recorded = match tx.try_execute(RECORD_RETRY, values)? {
        Ok(_) => attempts::keep_retried(tx, retry)?,
        Err(refused) => Err(refused),
    };
    match recorded {
        Ok(true) => {
            let kind: String = tx.prepare_cached(TYPE)?.query_row([id], |row| row.get(0))?;
            tx.tally.count(&kind, Happened::Retried);
            groups::count(tx, retry.id, &retry.error, tx.now).map(drop)
        }
        Ok(false) => Ok(()),
        Err(RowRefused(reason)) => {
            tracing::warn!(id = %retry.id, reason, "a retry could not be recorded");
            Ok(())
        }
    }
}

/// The request that a result ends, if its row allows that.
fn ending(
    tx: &WriteTransaction<'_>,
    sql: &'static str,
    new: &WorkerResult,
) -> rusqlite::Result<Option<EndingRequest>> {
    let values = params![new.id.as_bytes(), new.outcome.status().number(), new.run];
    let ending = tx.prepare_cached(sql)?.query_row(values, |row| {
        Ok(EndingRequest {
            kind: row.get(0)?,
            has_callback: row.get(1)?,
            has_history: row.get(2)?,
            run: row.get(3)?,
        })
    });
    ending.optional()
}

/// Writes a result, and returns in how many rows.
fn write(
    tx: &WriteTransaction<'_>,
    sql: &'static str,
    new: &WorkerResult,
    run: u32,
) -> rusqlite::Result<Result<usize, RowRefused>> {
    let (status, error) = (new.outcome.status().number(), new.outcome.error());
    let values = params![
        new.id.as_bytes(),
        status,
        run,
        new.attempt,
        new.deliveries,
        new.started_at.map(Timestamp::as_millis),
        new.finished_at.map(Timestamp::as_millis),
        tx.now.as_millis(),
        new.worker,
        error.map(|error| &error.code),
        error.map(|error| &error.message),
        new.outcome.result(),
    ];
    tx.try_execute(sql, values)
}

fn stored(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<StoredResult>> {
    let mut statement = connection.prepare_cached(STORED)?;
    let stored = statement.query_row([id.as_bytes()], |row| {
        Ok(StoredResult {
            status: Status::from_number(row.get(0)?),
            run: row.get(1)?,
            noted_run: row.get(2)?,
            worker: row.get(3)?,
            finished_at: row::optional_time(row, 4)?,
            error_code: row.get(5)?,
        })
    });
    stored.optional()
}
