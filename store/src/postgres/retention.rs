//! Deletes in PostgreSQL what has expired.

use sqlx::PgConnection;

use crate::{
    model::{
        idempotency::MIN_KEY_RETENTION,
        retention::{Cleared, Expiry},
    },
    postgres::{
        bulk_runs,
        clock::{Clock, now},
        groups,
        session::Work,
        stats::{self, statuses_tallied},
    },
    sql::due_claims,
};

/// How many bytes of requests and results, and then of parked messages, are deleted at once: all of their parts are, which has to be done within the timeout of
/// a statement.
const MAX_BYTES: i64 = 64 << 20;
/// Rows that another web service is deleting are left to it, here and below. Returns how many were deleted, and how many
/// were looked at. To know a length the server does not read the value.
const EXPIRE: &str = concat!(
    "WITH expired AS (SELECT id, settled_at, \
     COALESCE(octet_length(request_data), 0) + COALESCE(octet_length(result), 0)::bigint AS bytes \
     FROM requests WHERE settled_at < $1 AND NOT EXISTS \
     (SELECT 1 FROM callbacks WHERE request_id = requests.id AND state = 0) \
     ORDER BY settled_at LIMIT $2 FOR UPDATE SKIP LOCKED), \
     summed AS (SELECT id, sum(bytes) OVER (ORDER BY settled_at, id) - bytes AS before FROM expired), \
     gone AS (DELETE FROM requests WHERE id IN (SELECT id FROM summed WHERE before < $3) \
     RETURNING id, type, status), \
     uncalled AS (DELETE FROM callbacks WHERE request_id IN (SELECT id FROM gone)), \
     unfailed AS (DELETE FROM failures WHERE failed_id IN (SELECT id FROM gone)), \
     untried AS (DELETE FROM attempts WHERE request_id IN (SELECT id FROM gone)), ",
    statuses_tallied!("SELECT type, status, -1 FROM gone"),
    ", noted AS (INSERT INTO tombstones SELECT id, ",
    now!(),
    " FROM gone ON CONFLICT (id) DO NOTHING) \
     SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM expired)"
);
/// A message of a request goes after it: it may be the only copy of its data. So all messages are looked at whose requests are
/// still to expire, which is left until those have.
const EXPIRE_PARKED: &str = "WITH expired AS (SELECT number, received_at, octet_length(body)::bigint AS bytes \
    FROM parked WHERE received_at < $1 AND NOT EXISTS \
    (SELECT 1 FROM requests WHERE requests.id = parked.request_id) ORDER BY received_at LIMIT $2 \
    FOR UPDATE SKIP LOCKED), \
    summed AS (SELECT number, sum(bytes) OVER (ORDER BY received_at, number) - bytes AS before FROM expired), \
    gone AS (DELETE FROM parked WHERE number IN (SELECT number FROM summed WHERE before < $3) RETURNING 1) \
    SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM expired)";
const EXPIRE_TOMBSTONES: &str = "DELETE FROM tombstones WHERE id IN \
    (SELECT id FROM tombstones WHERE expired_at < $1 \
    AND NOT EXISTS (SELECT 1 FROM claims WHERE claims.id = tombstones.id) ORDER BY expired_at LIMIT $2 \
    FOR UPDATE SKIP LOCKED)";
/// A key that a call has taken over meanwhile is not due any more. An array is looked up in the index, however many keys the
/// server expects in it.
const EXPIRE_CLAIMS: &str = concat!(
    "WITH due AS (",
    due_claims!(),
    " FOR UPDATE SKIP LOCKED), \
     gone AS (DELETE FROM claims WHERE name = ANY(ARRAY(SELECT name FROM due WHERE can_go)) \
     AND keep_until < $1), \
     kept AS (UPDATE claims SET keep_until = $3 \
     WHERE name = ANY(ARRAY(SELECT name FROM due WHERE NOT can_go)) AND keep_until < $1) \
     SELECT count(*) FROM due"
);

/// Deletes what has expired.
pub(super) struct Expire(pub(super) Expiry);

impl Work for Expire {
    type Answer = Cleared;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Cleared> {
        let (limit, ended_before) = (i64::from(self.0.limit), self.0.ended_before.as_millis());
        let tombstones_before = self.0.tombstones_before.as_millis();
        let requests = sqlx::query_as(EXPIRE).bind(ended_before).bind(limit).bind(MAX_BYTES);
        let parked = sqlx::query_as(EXPIRE_PARKED).bind(ended_before).bind(limit).bind(MAX_BYTES);
        let tombstones = sqlx::query(EXPIRE_TOMBSTONES).bind(tombstones_before).bind(limit);
        bulk_runs::expire(connection, self.0.ended_before, limit).await?;
        let now = Clock.run(&mut *connection).await?;
        stats::roll_up(connection, now).await?;
        let (requests, expired): (i64, i64) = requests.fetch_one(&mut *connection).await?;
        let (parked, expired_parked): (i64, i64) = match expired < limit && requests == expired {
            true => parked.fetch_one(&mut *connection).await?,
            false => (0, 0),
        };
        let cleared = Cleared {
            requests: requests.unsigned_abs(),
            parked: parked.unsigned_abs(),
            tombstones: tombstones.execute(&mut *connection).await?.rows_affected(),
            claims: expire_claims(connection, limit).await?,
            grouped: groups::group_earlier(connection, self.0.limit).await?,
            is_cut_short: requests < expired || parked < expired_parked,
        };
        if !cleared.has_reached(self.0.limit) {
            groups::expire(connection, self.0.ended_before, limit).await?;
        }
        Ok(cleared)
    }
}

/// Deletes the keys that are due first, or keeps them as their request is kept.
async fn expire_claims(connection: &mut PgConnection, limit: i64) -> sqlx::Result<u64> {
    let now = Clock.run(&mut *connection).await?;
    let keep_until = (now + MIN_KEY_RETENTION).as_millis();
    let expire = sqlx::query_scalar(EXPIRE_CLAIMS).bind(now.as_millis()).bind(limit);
    let due: i64 = expire.bind(keep_until).fetch_one(connection).await?;
    Ok(due.unsigned_abs())
}

/// Checks that the server answers.
pub(super) struct Ping;

impl Work for Ping {
    type Answer = ();

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::query("SELECT 1").execute(connection).await.map(drop)
    }
}
