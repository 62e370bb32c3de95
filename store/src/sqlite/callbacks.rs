//! Leases callbacks and records their attempts in SQLite.

use std::time::Duration;

use pipeline::contract::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use crate::{
    model::{
        callback::{AttemptReport, DUE_CANDIDATES, LeaseCallbacks, LeasedCallback, Leases},
        send_capacity::DueCallback,
    },
    sql::{
        self, callback_rule,
        due_callbacks::{due_hosts, due_to_host, early, hosts, next_of_host},
    },
    sqlite::{row, transaction::WriteTransaction},
};

macro_rules! callback_of {
    () => {
        "INSERT INTO callbacks (request_id, of_run, host, ended_at, due_at) \
         SELECT id, run, callback_host, settled_at, settled_at FROM requests \
         WHERE id = $1 AND callback_host IS NOT NULL AND status <> 0"
    };
}

/// Makes the callback of a request that has just ended, if it has a target.
pub(super) const OF_ENDING: &str = concat!(callback_of!(), callback_rule!());
/// Makes the callback of a request that had ended before it was recorded, unless it is there already.
pub(super) const OF_ENDED: &str = concat!(callback_of!(), " ON CONFLICT (request_id) DO NOTHING");
/// Deletes the callback of a request.
pub(super) const DELETE: &str = "DELETE FROM callbacks WHERE request_id = $1";

/// From when on the time for attempts counts.
macro_rules! since {
    () => {
        "max(ended_at, COALESCE(retried_at, 0))"
    };
}

/// Whether a host has capacity.
macro_rules! is_free {
    () => {
        "host NOT IN (SELECT value FROM json_each($2))"
    };
}

pub(crate) const DUE_FIRST: &str = concat!(
    "SELECT request_id, host, $1 - ",
    since!(),
    " FROM ",
    early!("request_id, host, due_at, ended_at, retried_at", " AND due_at <= $1"),
    " WHERE ",
    is_free!(),
    " ORDER BY due_at LIMIT $3"
);
/// `CROSS JOIN` keeps the order in which SQLite reads them.
pub(crate) const DUE_BY_HOST: &str = concat!(
    "WITH ",
    due_hosts!("''", is_free!()),
    " SELECT due.request_id, due.host, $1 - ",
    since!(),
    " FROM due_hosts CROSS JOIN callbacks AS due ON due.request_id IN (SELECT request_id FROM (",
    due_to_host!(),
    ")) ORDER BY due.due_at LIMIT $3"
);
const LEASE: &str = concat!(
    "UPDATE callbacks SET lease = $1, due_at = $2, calls = calls + 1 \
    WHERE request_id = $3 RETURNING request_id, lease, host, of_run, calls, ended_at, $4 - ",
    since!()
);
pub(crate) const NEXT_FIRST: &str = concat!(
    "SELECT due_at - $1 FROM ",
    early!("due_at, host", ""),
    " WHERE ",
    is_free!(),
    " ORDER BY due_at LIMIT 1"
);
pub(crate) const NEXT_BY_HOST: &str = concat!(
    "WITH ",
    hosts!("''"),
    " SELECT min(",
    next_of_host!(),
    ") - $1 FROM hosts WHERE ",
    is_free!()
);

pub(super) fn lease(
    tx: &WriteTransaction<'_>,
    wanted: &LeaseCallbacks,
) -> rusqlite::Result<Leases> {
    let (now, full) = (tx.now.as_millis(), json(wanted.capacity.full_hosts()));
    let mut due = due(tx, DUE_FIRST, &full)?;
    if due.is_empty() {
        due = self::due(tx, DUE_BY_HOST, &full)?;
    }
    let selection = wanted.capacity.select(due, wanted.max_age);
    for (id, _) in &selection.given_up {
        tx.execute(sql::GIVE_UP_CALLBACK, params![sql::NO_CAPACITY, id.as_bytes()])?;
    }
    let due_at = (tx.now + wanted.duration).as_millis();
    let mut statement = tx.prepare_cached(LEASE)?;
    let mut lease = |id: Uuid| {
        let values = params![wanted.lease.as_bytes(), due_at, id.as_bytes(), now];
        statement.query_row(values, leased)
    };
    let leased = selection.leased.into_iter().map(&mut lease).collect::<Result<_, _>>()?;
    Ok(Leases { leased, given_up: selection.given_up })
}

/// The callbacks that a statement finds due.
fn due(tx: &WriteTransaction<'_>, sql: &str, full: &str) -> rusqlite::Result<Vec<DueCallback>> {
    let mut due = tx.prepare_cached(sql)?;
    let due = due.query_map(params![tx.now.as_millis(), full, DUE_CANDIDATES as i64], |row| {
        Ok(DueCallback { id: row::id(row, 0)?, host: row.get(1)?, age: row::duration(row, 2)? })
    })?;
    due.collect()
}

fn leased(row: &Row<'_>) -> rusqlite::Result<LeasedCallback> {
    Ok(LeasedCallback {
        id: row::id(row, 0)?,
        lease: row::id(row, 1)?,
        host: row.get(2)?,
        run: row.get(3)?,
        attempt: row.get(4)?,
        ended_at: row::time(row, 5)?,
        age: row::duration(row, 6)?,
    })
}

pub(super) fn record_attempt(
    tx: &WriteTransaction<'_>,
    report: &AttemptReport,
) -> rusqlite::Result<()> {
    let (id, lease) = (report.id.as_bytes(), report.lease.as_bytes());
    let recorded = match report.update(tx.now) {
        Some(update) => tx.execute(
            sql::RECORD_ATTEMPT,
            params![
                update.state,
                update.due_at.map(Timestamp::as_millis),
                update.error,
                update.delivered_at.map(Timestamp::as_millis),
                id,
                lease
            ],
        ),
        None => tx.execute(sql::DROP_CALLBACK, [id, lease]),
    };
    recorded.map(drop)
}

pub(super) fn retry(tx: &WriteTransaction<'_>, id: Uuid) -> rusqlite::Result<bool> {
    let rows = tx.execute(sql::RETRY_CALLBACK, params![tx.now.as_millis(), id.as_bytes()])?;
    Ok(rows > 0)
}

/// How long until the next callback is due that goes to none of the full hosts.
pub(super) fn next_in(
    connection: &Connection,
    full: &[String],
) -> rusqlite::Result<Option<Duration>> {
    let (now, full) = (Timestamp::now().as_millis(), json(full.to_vec()));
    let next = |sql| -> rusqlite::Result<Option<i64>> {
        let mut next = connection.prepare_cached(sql)?;
        next.query_row(params![now, full], |row| row.get(0)).optional().map(Option::flatten)
    };
    let millis = match next(NEXT_FIRST)? {
        None => next(NEXT_BY_HOST)?,
        first => first,
    };
    Ok(millis.map(|left| Duration::from_millis(u64::try_from(left).unwrap_or_default())))
}

/// A list for SQLite's `json_each`.
fn json(hosts: Vec<String>) -> String {
    serde_json::Value::from(hosts).to_string()
}
