//! Idempotency keys.

use std::collections::HashMap;

use pipeline::contract::Timestamp;
use sqlx::{Connection, PgConnection, Row};
use uuid::Uuid;

use super::{batch::Rows, clock::Clock, line::Work, row::time};
use crate::{
    Claim, Claimed, IdempotencyKeyHash, ReleaseClaim, StoreError,
    claim::{self, Holder},
    sql,
};

const CLAIM: &str = "INSERT INTO claims (name, digest, id, claimed_at, keep_until) \
    SELECT name, digest, id, $4, $5 FROM UNNEST($1::bytea[], $2::bytea[], $3::uuid[]) \
    AS new (name, digest, id) ORDER BY name ON CONFLICT (name) DO NOTHING RETURNING name";
/// Locked, so that of two who find it old only one takes it over; in order, so that they don't wait
/// for each other in a circle.
const HOLDERS: &str = "SELECT name, digest, id, claimed_at, \
    EXISTS (SELECT 1 FROM requests WHERE requests.id = claims.id) \
    OR EXISTS (SELECT 1 FROM tombstones WHERE tombstones.id = claims.id) \
    FROM claims WHERE name = ANY($1) ORDER BY name FOR UPDATE";
const TAKE_OVER: &str = "UPDATE claims SET claimed_at = $1 WHERE name = ANY($2)";

impl Rows for Claim {
    type Outcome = Result<Claimed, StoreError>;

    fn key(&self) -> Uuid {
        self.name.as_uuid()
    }

    fn size(&self) -> usize {
        200
    }

    async fn write(
        connection: &mut PgConnection,
        rows: &[Self],
    ) -> sqlx::Result<Vec<Self::Outcome>> {
        let mut transaction = connection.begin().await?;
        let now = Clock.run(&mut transaction).await?;
        let new = insert(&mut transaction, rows, now).await?;
        let others: Vec<&Claim> = rows.iter().filter(|row| !new.contains(&row.name)).collect();
        let mut became = HashMap::new();
        if !others.is_empty() {
            let holders = holders(&mut transaction, &others).await?;
            for row in &others {
                // One that was forgotten this very moment can be claimed in a moment.
                let holder = holders.get(&row.name);
                let claimed = holder.map_or(Claimed::Busy, |one| claim::decide(one, row, now));
                became.insert(row.name, claimed);
            }
            let taken = others.iter().filter(|row| became[&row.name].is_taken_over(row));
            let taken: Vec<&[u8]> = taken.map(|row| row.name.bytes()).collect();
            sqlx::query(TAKE_OVER)
                .bind(now.as_millis())
                .bind(taken)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        let outcome =
            |row: &Self| became.get(&row.name).copied().unwrap_or(Claimed::Proceed(row.id));
        Ok(rows.iter().map(|row| Ok(outcome(row))).collect())
    }

    fn refused(reason: String) -> Self::Outcome {
        Err(StoreError::Refused(reason))
    }
}

async fn insert(
    connection: &mut PgConnection,
    rows: &[Claim],
    now: Timestamp,
) -> sqlx::Result<Vec<IdempotencyKeyHash>> {
    let names: Vec<&[u8]> = rows.iter().map(|row| row.name.bytes()).collect();
    let digests: Vec<&[u8]> = rows.iter().map(|row| row.digest.as_slice()).collect();
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let query = sqlx::query(CLAIM).bind(names).bind(digests).bind(ids);
    let rows = query
        .bind(now.as_millis())
        .bind((now + claim::KEPT).as_millis())
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| name(row, 0)).collect()
}

async fn holders(
    connection: &mut PgConnection,
    rows: &[&Claim],
) -> sqlx::Result<HashMap<IdempotencyKeyHash, Holder>> {
    let names: Vec<&[u8]> = rows.iter().map(|row| row.name.bytes()).collect();
    let found = sqlx::query(HOLDERS).bind(names).fetch_all(connection).await?;
    let holder = |row: &sqlx::postgres::PgRow| {
        let holder = Holder {
            digest: row.try_get(1)?,
            id: row.try_get(2)?,
            claimed_at: time(row, 3)?,
            is_answered: row.try_get(4)?,
        };
        Ok((name(row, 0)?, holder))
    };
    found.iter().map(holder).collect()
}

fn name(row: &sqlx::postgres::PgRow, at: usize) -> sqlx::Result<IdempotencyKeyHash> {
    let bytes: Vec<u8> = row.try_get(at)?;
    IdempotencyKeyHash::from_bytes(&bytes)
        .ok_or_else(|| sqlx::Error::Decode("a name has 32 bytes".into()))
}

/// Gives a key up.
pub(super) struct UnclaimOne(
    pub(super) IdempotencyKeyHash,
    pub(super) Uuid,
    pub(super) ReleaseClaim,
);

impl Work for UnclaimOne {
    type Answer = ();

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let query = match self.2 {
            ReleaseClaim::Forget => sqlx::query(sql::FORGET),
            ReleaseClaim::Leave => sqlx::query(sql::LEAVE),
        };
        let query = query.bind(self.0.bytes()).bind(self.1);
        let query = match self.2 {
            ReleaseClaim::Forget => query.bind(claim::KEPT_MILLIS),
            ReleaseClaim::Leave => query,
        };
        query.execute(connection).await.map(drop)
    }
}
