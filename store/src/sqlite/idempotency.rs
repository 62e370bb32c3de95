//! Claims and releases idempotency keys in SQLite.

use rusqlite::params;
use uuid::Uuid;

use crate::{
    model::idempotency::{
        Claim, Claimed, IdempotencyKeyHash, MIN_KEY_RETENTION, MIN_KEY_RETENTION_MILLIS,
        ReleaseClaim, StoredClaim, TAKEN_OVER_KEY_RETENTION, decide,
    },
    sql,
    sqlite::{row, transaction::WriteTransaction},
};

const CLAIM: &str = "INSERT INTO claims (name, digest, id, claimed_at, keep_until) \
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING";
const STORED_CLAIM: &str = "SELECT digest, id, claimed_at, \
    EXISTS (SELECT 1 FROM requests WHERE requests.id = claims.id) \
    OR EXISTS (SELECT 1 FROM tombstones WHERE tombstones.id = claims.id), \
    NOT EXISTS (SELECT 1 FROM requests WHERE requests.id = claims.id AND accepted_at IS NULL) \
    FROM claims WHERE name = $1";
const TAKE_OVER: &str = "UPDATE claims SET claimed_at = $1, keep_until = $2 WHERE name = $3";

pub(super) fn claim(tx: &WriteTransaction<'_>, new: &Claim) -> rusqlite::Result<Claimed> {
    let (key, now) = (new.key.as_bytes(), tx.now.as_millis());
    let keep_until = (tx.now + MIN_KEY_RETENTION).as_millis();
    let values = params![key, new.body_digest, new.id.as_bytes(), now, keep_until];
    if tx.execute(CLAIM, values)? > 0 {
        return Ok(Claimed::Proceed(new.id));
    }
    let mut statement = tx.prepare_cached(STORED_CLAIM)?;
    let stored = statement.query_row([key], |row| {
        Ok(StoredClaim {
            body_digest: row.get(0)?,
            id: row::id(row, 1)?,
            claimed_at: row::time(row, 2)?,
            is_answered: row.get(3)?,
            is_recorded: row.get(4)?,
        })
    })?;
    let claimed = decide(&stored, new, tx.now);
    if claimed.is_taken_over(new) {
        let keep_until = (tx.now + TAKEN_OVER_KEY_RETENTION).as_millis();
        tx.execute(TAKE_OVER, params![now, keep_until, key])?;
    }
    Ok(claimed)
}

pub(super) fn release(
    tx: &WriteTransaction<'_>,
    key: &IdempotencyKeyHash,
    id: Uuid,
    how: ReleaseClaim,
) -> rusqlite::Result<()> {
    let (key, id) = (key.as_bytes(), id.as_bytes());
    let released = match how {
        ReleaseClaim::Delete => {
            tx.execute(sql::DELETE_CLAIM, params![key, id, MIN_KEY_RETENTION_MILLIS])
        }
        ReleaseClaim::AllowTakeover => tx.execute(sql::ALLOW_TAKEOVER, params![key, id]),
    };
    released.map(drop)
}
