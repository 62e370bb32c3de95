//! Claims and releases idempotency keys in PostgreSQL.

use std::collections::HashMap;

use pipeline::contract::Timestamp;
use sqlx::{Connection, PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{
    error::StoreError,
    model::idempotency::{
        Claim, Claimed, IdempotencyKeyHash, MIN_KEY_RETENTION, MIN_KEY_RETENTION_MILLIS,
        ReleaseClaim, StoredClaim, TAKEN_OVER_KEY_RETENTION, decide,
    },
    postgres::{batch::Rows, clock::Clock, row::time, session::Work},
    sql,
};

const CLAIM: &str = "INSERT INTO claims (name, digest, id, claimed_at, keep_until) \
    SELECT name, digest, id, $4, $5 FROM UNNEST($1::bytea[], $2::bytea[], $3::uuid[]) \
    AS new (name, digest, id) ORDER BY name ON CONFLICT (name) DO NOTHING RETURNING name";
/// The rows are locked, so that only one of two calls takes an old claim over; in order, so that two
/// statements can't deadlock.
const STORED_CLAIMS: &str = "SELECT name, digest, id, claimed_at, \
    EXISTS (SELECT 1 FROM requests WHERE requests.id = claims.id) \
    OR EXISTS (SELECT 1 FROM tombstones WHERE tombstones.id = claims.id), \
    NOT EXISTS (SELECT 1 FROM requests WHERE requests.id = claims.id AND accepted_at IS NULL) \
    FROM claims WHERE name = ANY($1) ORDER BY name FOR UPDATE";
const TAKE_OVER: &str = "UPDATE claims SET claimed_at = $1, keep_until = $2 WHERE name = ANY($3)";

impl Rows for Claim {
    type Outcome = Result<Claimed, StoreError>;

    fn key(&self) -> Uuid {
        self.key.as_uuid()
    }

    fn bytes(&self) -> usize {
        200
    }

    async fn write(
        connection: &mut PgConnection,
        rows: &[Self],
    ) -> sqlx::Result<Vec<Self::Outcome>> {
        let mut transaction = connection.begin().await?;
        let now = Clock.run(&mut transaction).await?;
        let new = insert(&mut transaction, rows, now).await?;
        let others: Vec<&Claim> = rows.iter().filter(|row| !new.contains(&row.key)).collect();
        let mut decided = HashMap::new();
        if !others.is_empty() {
            let stored = stored(&mut transaction, &others).await?;
            for row in &others {
                // A claim that was deleted just now can be made again in a moment.
                let claimed =
                    stored.get(&row.key).map_or(Claimed::Busy, |stored| decide(stored, row, now));
                decided.insert(row.key, claimed);
            }
            let taken_over = others.iter().filter(|row| decided[&row.key].is_taken_over(row));
            let keys: Vec<&[u8]> = taken_over.map(|row| row.key.as_bytes()).collect();
            let keep_until = (now + TAKEN_OVER_KEY_RETENTION).as_millis();
            let take_over =
                sqlx::query(TAKE_OVER).bind(now.as_millis()).bind(keep_until).bind(keys);
            take_over.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        let outcome =
            |row: &Self| decided.get(&row.key).copied().unwrap_or(Claimed::Proceed(row.id));
        Ok(rows.iter().map(|row| Ok(outcome(row))).collect())
    }

    fn refused(reason: String) -> Self::Outcome {
        Err(StoreError::Refused(reason))
    }
}

/// Returns the keys that were not stored yet.
async fn insert(
    connection: &mut PgConnection,
    rows: &[Claim],
    now: Timestamp,
) -> sqlx::Result<Vec<IdempotencyKeyHash>> {
    let keys: Vec<&[u8]> = rows.iter().map(|row| row.key.as_bytes()).collect();
    let digests: Vec<&[u8]> = rows.iter().map(|row| row.body_digest.as_slice()).collect();
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let keep_until = (now + MIN_KEY_RETENTION).as_millis();
    let query = sqlx::query(CLAIM).bind(keys).bind(digests).bind(ids);
    let rows = query.bind(now.as_millis()).bind(keep_until).fetch_all(connection).await?;
    rows.iter().map(|row| key(row, 0)).collect()
}

async fn stored(
    connection: &mut PgConnection,
    rows: &[&Claim],
) -> sqlx::Result<HashMap<IdempotencyKeyHash, StoredClaim>> {
    let keys: Vec<&[u8]> = rows.iter().map(|row| row.key.as_bytes()).collect();
    let found = sqlx::query(STORED_CLAIMS).bind(keys).fetch_all(connection).await?;
    let stored = |row: &PgRow| {
        let stored = StoredClaim {
            body_digest: row.try_get(1)?,
            id: row.try_get(2)?,
            claimed_at: time(row, 3)?,
            is_answered: row.try_get(4)?,
            is_recorded: row.try_get(5)?,
        };
        Ok((key(row, 0)?, stored))
    };
    found.iter().map(stored).collect()
}

fn key(row: &PgRow, column: usize) -> sqlx::Result<IdempotencyKeyHash> {
    let bytes: Vec<u8> = row.try_get(column)?;
    IdempotencyKeyHash::from_bytes(&bytes)
        .ok_or_else(|| sqlx::Error::Decode("a key's hash has 32 bytes".into()))
}

/// Releases a claim.
pub(super) struct Release {
    pub(super) key: IdempotencyKeyHash,
    pub(super) id: Uuid,
    pub(super) how: ReleaseClaim,
}

impl Work for Release {
    type Answer = ();

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let query = |sql| sqlx::query(sql).bind(self.key.as_bytes()).bind(self.id);
        let query = match self.how {
            ReleaseClaim::Delete => query(sql::DELETE_CLAIM).bind(MIN_KEY_RETENTION_MILLIS),
            ReleaseClaim::AllowTakeover => query(sql::ALLOW_TAKEOVER),
        };
        query.execute(connection).await.map(drop)
    }
}
