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
        attempts, callbacks, groups, row,
        stats::Happened,
        transaction::{RowRefused, WriteTransaction},
    },
};

/// An upsert would do the same in one statement, and take more than twice as long.
macro_rules! update {
    ($condition:ident) => {
        concat!(
            "UPDATE requests SET status = ?2, run = max(COALESCE(?3, ",
            unnamed_run!("?2"),
            "), run), attempts = ?4, deliveries = ?5, \
     started_at = COALESCE(?6, started_at), finished_at = ?7, settled_at = ?8, worker = ?9, \
     error_code = ?10, error_message = ?11, result = ?12, next_attempt_at = NULL \
     WHERE id = ?1 AND ",
            $condition!("?2", concat!("COALESCE(?3, ", unnamed_run!("?2"), ")")),
            " RETURNING type, callback_host IS NOT NULL, ",
            has_history!()
        )
    };
}
const UPDATE_QUEUED: &str = update!(is_end);
const UPDATE_FAILED: &str = update!(is_better_end);
const INSERT: &str = concat!(
    "INSERT INTO requests (id, status, run, attempts, deliveries, started_at, \
    finished_at, settled_at, worker, error_code, error_message, result) \
    SELECT ?1, ?2, COALESCE(?3, 0), ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12 \
    WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE id = ?1) RETURNING type, callback_host IS NOT NULL, ",
    has_history!()
);
const STORED: &str =
    "SELECT status, run, noted_run, worker, finished_at, error_code FROM requests WHERE id = $1";
const TYPE: &str = "SELECT type FROM requests WHERE id = $1";
/// News of a run that is noted show that it was published.
const RECORD_RETRY: &str = "UPDATE requests SET attempts = $1, last_error = $2, next_attempt_at = $3, \
    run = $4 WHERE id = $5 AND status = 0 AND (run = $4 OR run < $4 AND noted_run >= $4) \
    AND attempts <= $1";

/// A request that a result has just ended.
struct EndedRequest {
    kind: String,
    has_callback: bool,
    has_history: bool,
}

/// Stores a result if it is the first final one of its run, and says what became of it.
pub(super) fn apply(tx: &WriteTransaction<'_>, new: &WorkerResult) -> rusqlite::Result<Applied> {
    match write(tx, UPDATE_QUEUED, new)? {
        Ok(None) => {}
        Ok(Some(request)) => return ended(tx, new, &request, Some(Status::Queued)),
        Err(RowRefused(reason)) => return Ok(Applied::BadRow(reason)),
    }
    if let Some(stored) = stored(tx, new.id)? {
        return match write(tx, UPDATE_FAILED, new)? {
            Ok(None) => Ok(not_stored(Some(&stored), new)),
            Ok(Some(request)) => {
                groups::leave(tx, new.id)?;
                ended(tx, new, &request, Some(Status::Failed))
            }
            Err(RowRefused(reason)) => Ok(Applied::BadRow(reason)),
        };
    }
    match write(tx, INSERT, new)? {
        Ok(None) => Ok(not_stored(None, new)),
        Ok(Some(request)) => ended(tx, new, &request, None),
        Err(RowRefused(reason)) => Ok(Applied::BadRow(reason)),
    }
}

/// Does what follows from a result that has just ended its request.
fn ended(
    tx: &WriteTransaction<'_>,
    new: &WorkerResult,
    EndedRequest { kind, has_callback, has_history }: &EndedRequest,
    before: Option<Status>,
) -> rusqlite::Result<Applied> {
    let status = new.outcome.status();
    tx.tally.count(kind, Happened::Ended(status));
    tx.tally.turn(kind, before, Some(status));
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

/// Writes a result, and returns what is known of its request if it is the end of that.
fn write(
    tx: &WriteTransaction<'_>,
    sql: &'static str,
    new: &WorkerResult,
) -> rusqlite::Result<Result<Option<EndedRequest>, RowRefused>> {
    let (status, error) = (new.outcome.status().number(), new.outcome.error());
    let values = params![
        new.id.as_bytes(),
        status,
        new.run,
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
    tx.try_change(sql, values, |row| {
        Ok(EndedRequest { kind: row.get(0)?, has_callback: row.get(1)?, has_history: row.get(2)? })
    })
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
