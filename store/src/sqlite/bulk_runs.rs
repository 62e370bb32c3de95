//! Bulk runs in SQLite.

use std::time::Duration;

use pipeline::contract::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use crate::{
    model::bulk_run::{BulkRun, BulkRunReport, LeaseBulkRuns, NewBulkRun, Reported},
    sql::bulk_runs::{ADD, EXPIRE, GET, LIST, NEXT, REPORT, STOP, lease_bulk_runs},
    sqlite::{row, transaction::WriteTransaction},
};

pub(super) fn begin(tx: &WriteTransaction<'_>, run: &NewBulkRun) -> rusqlite::Result<()> {
    let (now, due_at) = (tx.now.as_millis(), (tx.now + run.due_in).as_millis());
    tx.execute(ADD, params![run.id.as_bytes(), run.plan, run.progress, now, due_at]).map(drop)
}

pub(super) fn lease(
    tx: &WriteTransaction<'_>,
    wanted: &LeaseBulkRuns,
) -> rusqlite::Result<Vec<BulkRun>> {
    let (now, due_at) = (tx.now.as_millis(), (tx.now + wanted.duration).as_millis());
    let mut lease = tx.prepare_cached(lease_bulk_runs!(""))?;
    lease.query_map(params![wanted.lease.as_bytes(), due_at, now, wanted.limit], run)?.collect()
}

pub(super) fn report(
    tx: &WriteTransaction<'_>,
    report: &BulkRunReport,
) -> rusqlite::Result<Reported> {
    let due_at = (tx.now + report.due_in).as_millis();
    let (id, lease) = (report.id.as_bytes(), report.lease.as_bytes());
    let values = params![report.progress, report.is_over, due_at, id, lease];
    let stop = tx.prepare_cached(REPORT)?.query_row(values, |row| row.get(0)).optional()?;
    Ok(Reported::of(stop))
}

pub(super) fn stop(tx: &WriteTransaction<'_>, id: Uuid) -> rusqlite::Result<bool> {
    Ok(tx.execute(STOP, params![tx.now.as_millis(), id.as_bytes()])? > 0)
}

pub(super) fn expire(
    tx: &WriteTransaction<'_>,
    made_before: Timestamp,
    limit: u32,
) -> rusqlite::Result<()> {
    tx.execute(EXPIRE, params![made_before.as_millis(), limit]).map(drop)
}

pub(super) fn next_in(connection: &Connection) -> rusqlite::Result<Option<Duration>> {
    let next: Option<i64> = connection.prepare_cached(NEXT)?.query_row([], |row| row.get(0))?;
    let next = next.map(Timestamp::from_millis);
    Ok(next.map(|next| next.saturating_duration_since(Timestamp::now())))
}

pub(super) fn get(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<BulkRun>> {
    connection.prepare_cached(GET)?.query_row([id.as_bytes()], run).optional()
}

pub(super) fn list(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<BulkRun>> {
    connection.prepare_cached(LIST)?.query_map([limit], run)?.collect()
}

fn run(row: &Row<'_>) -> rusqlite::Result<BulkRun> {
    Ok(BulkRun {
        id: row::id(row, 0)?,
        plan: row.get(1)?,
        progress: row.get(2)?,
        is_over: row.get(3)?,
        is_stop_asked: row.get(4)?,
        created_at: row::time(row, 5)?,
    })
}
