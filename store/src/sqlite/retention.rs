//! Deletes in SQLite what has expired.

use std::time::Instant;

use rusqlite::params;
use uuid::Uuid;

use crate::{
    model::{
        idempotency::MIN_KEY_RETENTION,
        request::Status,
        retention::{Cleared, Expiry},
    },
    sql,
    sqlite::{attempts, bulk_runs, callbacks, groups, stats, transaction::WriteTransaction},
};

const EXPIRED: &str = "SELECT id, type, status FROM requests WHERE settled_at < $1 AND NOT EXISTS \
    (SELECT 1 FROM callbacks WHERE request_id = requests.id AND state = 0) \
    ORDER BY settled_at LIMIT $2";
const DELETE: &str = "DELETE FROM requests WHERE id = $1";
/// A message of a request goes after it: it may be the only copy of its data. So all messages are looked at whose requests are
/// still to expire, which is left until those have.
const EXPIRED_PARKED: &str = "SELECT number FROM parked WHERE received_at < $1 AND NOT EXISTS \
    (SELECT 1 FROM requests WHERE requests.id = parked.request_id) ORDER BY received_at LIMIT $2";
const DELETE_PARKED: &str = "DELETE FROM parked WHERE number = $1";
const EXPIRE_TOMBSTONES: &str = "DELETE FROM tombstones WHERE id IN \
    (SELECT id FROM tombstones WHERE expired_at < $1 \
    AND NOT EXISTS (SELECT 1 FROM claims WHERE claims.id = tombstones.id) ORDER BY expired_at LIMIT $2)";
const DELETE_CLAIM: &str = "DELETE FROM claims WHERE name = $1";
const KEEP_CLAIM: &str = "UPDATE claims SET keep_until = $1 WHERE name = $2";
const LEAVE_TOMBSTONE: &str = "INSERT OR IGNORE INTO tombstones VALUES ($1, $2)";

/// How many rows of a kind were deleted, and whether some were left because the time was over.
#[derive(Default)]
struct Deleted {
    rows: u64,
    is_cut_short: bool,
}

impl Deleted {
    /// Whether they were all that have expired.
    fn are_all(&self, limit: u32) -> bool {
        !self.is_cut_short && self.rows < limit.into()
    }
}

pub(super) fn expire(tx: &WriteTransaction<'_>, expiry: Expiry) -> rusqlite::Result<Cleared> {
    let (began, limit) = (Instant::now(), expiry.limit);
    let is_over = || began.elapsed() >= expiry.max_time;
    let requests = expire_requests(tx, expiry, is_over)?;
    stats::roll_up(tx, tx.now)?;
    bulk_runs::expire(tx, expiry.ended_before, limit)?;
    let parked = match requests.are_all(limit) {
        true => expire_parked(tx, expiry, is_over)?,
        false => Deleted::default(),
    };
    let tombstones_before = expiry.tombstones_before.as_millis();
    let cleared = Cleared {
        requests: requests.rows,
        parked: parked.rows,
        tombstones: tx.execute(EXPIRE_TOMBSTONES, params![tombstones_before, limit])? as u64,
        claims: expire_claims(tx, limit)?,
        grouped: groups::group_earlier(tx, limit)?,
        is_cut_short: requests.is_cut_short || parked.is_cut_short,
    };
    if !cleared.has_reached(limit) {
        groups::expire(tx, expiry.ended_before, limit)?;
    }
    Ok(cleared)
}

fn expire_requests(
    tx: &WriteTransaction<'_>,
    expiry: Expiry,
    is_over: impl Fn() -> bool,
) -> rusqlite::Result<Deleted> {
    let mut expired = tx.prepare_cached(EXPIRED)?;
    let expired = expired
        .query_map(params![expiry.ended_before.as_millis(), expiry.limit], |row| {
            Ok((row.get(0)?, row.get(1)?, Status::from_number(row.get(2)?)))
        })?;
    let expired: Vec<([u8; 16], String, Status)> = expired.collect::<Result<_, _>>()?;
    delete_until(is_over, &expired, |(id, kind, status)| {
        tx.execute(DELETE, [id])?;
        tx.tally.turn(kind, Some(*status), None);
        leave_tombstone(tx, id)
    })
}

fn expire_parked(
    tx: &WriteTransaction<'_>,
    expiry: Expiry,
    is_over: impl Fn() -> bool,
) -> rusqlite::Result<Deleted> {
    let mut expired = tx.prepare_cached(EXPIRED_PARKED)?;
    let expired = expired
        .query_map(params![expiry.ended_before.as_millis(), expiry.limit], |row| row.get(0))?;
    let expired: Vec<i64> = expired.collect::<Result<_, _>>()?;
    delete_until(is_over, &expired, |number| tx.execute(DELETE_PARKED, [number]).map(drop))
}

/// Deletes rows one by one until the time is over, at least one.
fn delete_until<R>(
    is_over: impl Fn() -> bool,
    rows: &[R],
    delete: impl Fn(&R) -> rusqlite::Result<()>,
) -> rusqlite::Result<Deleted> {
    let mut deleted = 0;
    for row in rows {
        delete(row)?;
        deleted += 1;
        if is_over() {
            break;
        }
    }
    Ok(Deleted { rows: deleted as u64, is_cut_short: deleted < rows.len() })
}

/// Remembers the id of a request that was deleted, and deletes what belongs to it.
pub(super) fn leave_tombstone(tx: &WriteTransaction<'_>, id: &[u8; 16]) -> rusqlite::Result<()> {
    tx.execute(callbacks::DELETE, [id])?;
    tx.execute(attempts::DELETE, [id])?;
    groups::leave(tx, Uuid::from_bytes(*id))?;
    tx.execute(LEAVE_TOMBSTONE, params![id, tx.now.as_millis()]).map(drop)
}

/// Deletes the keys that are due first, or keeps them as their request is kept.
fn expire_claims(tx: &WriteTransaction<'_>, limit: u32) -> rusqlite::Result<u64> {
    let mut due = tx.prepare_cached(sql::DUE_CLAIMS)?;
    let due = due.query_map(params![tx.now.as_millis(), limit], |row| {
        Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, bool>(1)?))
    })?;
    let due: Vec<(Vec<u8>, bool)> = due.collect::<Result<_, _>>()?;
    let keep_until = (tx.now + MIN_KEY_RETENTION).as_millis();
    for (name, can_go) in &due {
        match can_go {
            true => tx.execute(DELETE_CLAIM, [name])?,
            false => tx.execute(KEEP_CLAIM, params![keep_until, name])?,
        };
    }
    Ok(due.len() as u64)
}
