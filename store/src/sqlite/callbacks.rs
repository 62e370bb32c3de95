//! Callbacks.

use std::time::Duration;

use pipeline::contract::Timestamp;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::row;
use crate::{
    AttemptReport, LeaseCallbacks, LeasedCallback,
    callbacks::LOOK_AT,
    sql::{self, callback_rule},
};

macro_rules! callback_of {
    () => {
        "INSERT INTO callbacks (request_id, of_run, host, ended_at, due_at) \
         SELECT id, run, callback_host, settled_at, settled_at FROM requests \
         WHERE id = $1 AND callback_host IS NOT NULL AND status <> 0"
    };
}

/// The callback of a request that has just ended, if it has one.
pub(super) const OF_ENDING: &str = concat!(callback_of!(), callback_rule!());
/// The callback of a request that had ended before it was recorded, unless it is there already.
pub(super) const OF_ENDED: &str = concat!(callback_of!(), " ON CONFLICT (request_id) DO NOTHING");

const DUE: &str = "SELECT request_id, host FROM callbacks WHERE state = 0 AND due_at <= $1 \
    AND host NOT IN (SELECT value FROM json_each($2)) ORDER BY due_at LIMIT $3";
const TAKE: &str = "UPDATE callbacks SET lease = $1, due_at = $2, calls = calls + 1 \
    WHERE request_id = $3 RETURNING request_id, lease, host, of_run, calls, ended_at";
const NEXT: &str = "SELECT min(due_at) - $1 FROM callbacks WHERE state = 0 \
    AND host NOT IN (SELECT value FROM json_each($2))";

pub(super) fn take(
    connection: &Connection,
    take: &LeaseCallbacks,
    now: Timestamp,
) -> rusqlite::Result<Vec<LeasedCallback>> {
    let mut due = connection.prepare_cached(DUE)?;
    let due = due
        .query_map(params![now.as_millis(), json(take.room.full()), LOOK_AT as i64], |row| {
            Ok((Uuid::from_bytes(row.get(0)?), row.get(1)?))
        })?;
    let chosen = take.room.choose(due.collect::<Result<_, _>>()?);
    let mut statement = connection.prepare_cached(TAKE)?;
    let mut one = |id: Uuid| {
        let values =
            params![take.lease.as_bytes(), (now + take.patience).as_millis(), id.as_bytes()];
        statement.query_row(values, taken)
    };
    chosen.into_iter().map(&mut one).collect()
}

fn taken(row: &Row<'_>) -> rusqlite::Result<LeasedCallback> {
    Ok(LeasedCallback {
        id: Uuid::from_bytes(row.get(0)?),
        lease: Uuid::from_bytes(row.get(1)?),
        host: row.get(2)?,
        run: row.get(3)?,
        attempt: row.get(4)?,
        ended_at: row::time(row, 5)?,
    })
}

pub(super) fn attempted(
    connection: &Connection,
    new: &AttemptReport,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let (id, lease) = (new.id.as_bytes(), new.lease.as_bytes());
    let noted = match new.mark(now) {
        Some(mark) => connection.prepare_cached(sql::ATTEMPTED)?.execute(params![
            mark.state,
            mark.due_at.map(Timestamp::as_millis),
            mark.error,
            mark.delivered_at.map(Timestamp::as_millis),
            id,
            lease
        ]),
        None => connection.prepare_cached(sql::DROP_CALLBACK)?.execute([id, lease]),
    };
    noted.map(drop)
}

/// In how long the next one is due that goes to none of these hosts.
pub(super) fn next(connection: &Connection, full: &[String]) -> rusqlite::Result<Option<Duration>> {
    let mut next = connection.prepare_cached(NEXT)?;
    let now = Timestamp::now().as_millis();
    let millis: Option<i64> =
        next.query_row(params![now, json(full.to_vec())], |row| row.get(0))?;
    Ok(millis.map(|left| Duration::from_millis(u64::try_from(left).unwrap_or_default())))
}

/// A list as SQLite takes one.
fn json(hosts: Vec<String>) -> String {
    serde_json::Value::from(hosts).to_string()
}
