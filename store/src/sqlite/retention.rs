//! Deletes in SQLite what has expired.

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

const EXPIRE: &str = "DELETE FROM requests WHERE id IN \
    (SELECT id FROM requests WHERE settled_at < $1 AND NOT EXISTS \
    (SELECT 1 FROM callbacks WHERE request_id = requests.id AND state = 0) \
    ORDER BY settled_at LIMIT $2) RETURNING id, type, status";
/// A message of a request goes after it: it may be the only copy of its data.
const EXPIRE_PARKED: &str = "DELETE FROM parked WHERE number IN \
    (SELECT number FROM parked WHERE received_at < $1 AND NOT EXISTS \
    (SELECT 1 FROM requests WHERE requests.id = parked.request_id) ORDER BY received_at LIMIT $2)";
const EXPIRE_TOMBSTONES: &str = "DELETE FROM tombstones WHERE id IN \
    (SELECT id FROM tombstones WHERE expired_at < $1 \
    AND NOT EXISTS (SELECT 1 FROM claims WHERE claims.id = tombstones.id) ORDER BY expired_at LIMIT $2)";
const DELETE_CLAIM: &str = "DELETE FROM claims WHERE name = $1";
const KEEP_CLAIM: &str = "UPDATE claims SET keep_until = $1 WHERE name = $2";
const LEAVE_TOMBSTONE: &str = "INSERT OR IGNORE INTO tombstones VALUES ($1, $2)";

pub(super) fn expire(tx: &WriteTransaction<'_>, expiry: Expiry) -> rusqlite::Result<Cleared> {
    let (ended_before, limit) = (expiry.ended_before.as_millis(), expiry.limit);
    let tombstones_before = expiry.tombstones_before.as_millis();
    let mut statement = tx.prepare_cached(EXPIRE)?;
    let gone = statement.query_map(params![ended_before, limit], |row| {
        Ok((row.get(0)?, row.get(1)?, Status::from_number(row.get(2)?)))
    })?;
    let gone: Vec<([u8; 16], String, Status)> = gone.collect::<Result<_, _>>()?;
    for (id, kind, status) in &gone {
        tx.tally.turn(kind, Some(*status), None);
        leave_tombstone(tx, id)?;
    }
    stats::roll_up(tx, tx.now)?;
    groups::expire(tx, expiry.ended_before, limit)?;
    bulk_runs::expire(tx, expiry.ended_before, limit)?;
    Ok(Cleared {
        requests: gone.len() as u64,
        parked: tx.execute(EXPIRE_PARKED, params![ended_before, limit])? as u64,
        tombstones: tx.execute(EXPIRE_TOMBSTONES, params![tombstones_before, limit])? as u64,
        claims: expire_claims(tx, limit)?,
        grouped: groups::group_earlier(tx, limit)?,
    })
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
