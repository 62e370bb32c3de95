//! Keeps and lists attempts in SQLite.

use pipeline::contract::{ErrorBody, Timestamp};
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use crate::{
    model::{attempt::Attempt, request::ScheduledRetry},
    sql::attempts::{ATTEMPTS, attempt_columns, last_failure},
    sqlite::{
        row::optional_time,
        transaction::{RowRefused, WriteTransaction},
    },
};

/// A run that is neither the present one, nor an earlier one, nor noted, was never published.
const KEEP_RETRIED: &str = concat!(
    "INSERT INTO attempts (",
    attempt_columns!(),
    ") SELECT $1, $2, $3, 0, $4, $5, $6, $7, $8, substr($9, 1, 2000), $10 FROM requests WHERE id = $1 \
     AND (run >= $2 OR noted_run >= $2) ON CONFLICT DO NOTHING"
);
const KEEP_FAILED: &str = concat!(
    "INSERT INTO attempts (",
    attempt_columns!(),
    ") ",
    last_failure!("requests"),
    " AND id = $1 ON CONFLICT DO NOTHING"
);
/// Deletes the attempts at a request.
pub(super) const DELETE: &str = "DELETE FROM attempts WHERE request_id = $1";

/// Keeps an attempt that failed and was followed by another one, once. False if it was kept before, or if its request is
/// not stored.
pub(super) fn keep_retried(
    tx: &WriteTransaction<'_>,
    retry: &ScheduledRetry,
) -> rusqlite::Result<Result<bool, RowRefused>> {
    let values = params![
        retry.id.as_bytes(),
        retry.run,
        retry.attempts,
        retry.delivery,
        retry.worker,
        retry.started_at.map(Timestamp::as_millis),
        retry.ended_at.map(Timestamp::as_millis),
        retry.error.code,
        retry.error.message,
        retry.next_attempt_at.map(Timestamp::as_millis),
    ];
    Ok(tx.try_execute(KEEP_RETRIED, values)?.map(|rows| rows > 0))
}

/// Keeps the attempt with which a request has just failed.
pub(super) fn keep_failed(tx: &WriteTransaction<'_>, id: Uuid) -> rusqlite::Result<()> {
    tx.execute(KEEP_FAILED, [id.as_bytes()]).map(drop)
}

/// The attempts at a request that failed, the latest first.
pub(super) fn failed(
    connection: &Connection,
    id: Uuid,
    limit: u32,
) -> rusqlite::Result<Vec<Attempt>> {
    let mut statement = connection.prepare_cached(ATTEMPTS)?;
    statement.query_map(params![id.as_bytes(), limit], attempt)?.collect()
}

fn attempt(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    Ok(Attempt {
        run: row.get(1)?,
        attempt: row.get(2)?,
        delivery: row.get(4)?,
        worker: row.get(5)?,
        started_at: optional_time(row, 6)?,
        ended_at: optional_time(row, 7)?,
        error: Some(ErrorBody::new(row.get::<_, String>(8)?, row.get::<_, String>(9)?)),
        next_attempt_at: optional_time(row, 10)?,
    })
}
