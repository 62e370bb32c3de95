//! The rarer changes: news of retries, cancels, expiry.

use pipeline::contract::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    batch::Rows,
    callbacks::callbacks_of_ended,
    clock::{Clock, moment},
    line::Work,
    row::{number, status},
};
use crate::{
    Cancel, Cleared, DeleteParked, Discard, Expiry, Replay, Retrying, Status, claim,
    sql::{self, cancel, discard, replay, retrying_rule, retrying_run},
};

const RETRYING: &str = concat!(
    "INSERT INTO requests (id, run, attempts, last_error, next_attempt_at) \
     SELECT new.id, ",
    retrying_run!("new.id", "new.run"),
    ", new.attempts, new.last_error, new.next_attempt_at \
     FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[]) \
     AS new (id, run, attempts, last_error, next_attempt_at) \
     WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE tombstones.id = new.id) ORDER BY new.id",
    retrying_rule!()
);
const CANCEL: &str =
    concat!("WITH ended AS (", cancel!(), "), ", callbacks_of_ended!(), " SELECT run FROM ended");
const REPLAY: &str = concat!(
    "WITH again AS (",
    replay!(),
    "), uncalled AS (DELETE FROM callbacks WHERE request_id IN (SELECT id FROM again)) \
     SELECT id FROM again"
);
const DISCARD: &str = concat!(
    "WITH gone AS (",
    discard!(),
    "), uncalled AS (DELETE FROM callbacks WHERE request_id IN (SELECT id FROM gone)), \
     unparked AS (DELETE FROM parked WHERE request_id IN (SELECT id FROM gone)), \
     buried AS (INSERT INTO tombstones SELECT id, ",
    moment!(),
    " FROM gone ON CONFLICT (id) DO NOTHING) SELECT id FROM gone"
);
pub(super) const IS_BURIED: &str = "SELECT EXISTS (SELECT 1 FROM tombstones WHERE id = $1)";
/// Rows that another web service is clearing away are left to it.
const EXPIRE: &str = concat!(
    "WITH gone AS (DELETE FROM requests WHERE id IN \
     (SELECT id FROM requests WHERE settled_at < $1 AND NOT EXISTS \
     (SELECT 1 FROM callbacks WHERE request_id = requests.id AND state = 0) \
     ORDER BY settled_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING id), \
     uncalled AS (DELETE FROM callbacks WHERE request_id IN (SELECT id FROM gone)) \
     INSERT INTO tombstones SELECT id, ",
    moment!(),
    " FROM gone ON CONFLICT (id) DO NOTHING"
);
const EXPIRE_PARKED: &str = "DELETE FROM parked WHERE number IN \
    (SELECT number FROM parked WHERE received_at < $1 ORDER BY received_at LIMIT $2 \
    FOR UPDATE SKIP LOCKED)";
const EXPIRE_TOMBSTONES: &str = "DELETE FROM tombstones WHERE id IN \
    (SELECT id FROM tombstones WHERE expired_at < $1 ORDER BY expired_at LIMIT $2 \
    FOR UPDATE SKIP LOCKED)";

impl Rows for Retrying {
    type Outcome = ();

    fn key(&self) -> Uuid {
        self.id
    }

    fn size(&self) -> usize {
        self.last_error.len() + 100
    }

    async fn write(connection: &mut PgConnection, rows: &[Self]) -> sqlx::Result<Vec<()>> {
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let runs: Vec<i64> = rows.iter().map(|row| row.run.into()).collect();
        let attempts: Vec<i64> = rows.iter().map(|row| row.attempts.into()).collect();
        let errors: Vec<&str> = rows.iter().map(|row| row.last_error.as_str()).collect();
        let next: Vec<Option<i64>> =
            rows.iter().map(|row| row.next_attempt_at.map(Timestamp::as_millis)).collect();
        let query = sqlx::query(RETRYING).bind(ids).bind(runs).bind(attempts);
        query.bind(errors).bind(next).execute(connection).await?;
        Ok(vec![(); rows.len()])
    }

    fn refused(reason: String) {
        tracing::warn!(reason, "news of a retry can't be stored");
    }
}

/// Ends a request.
pub(super) struct CancelOne(pub(super) Uuid);

impl Work for CancelOne {
    type Answer = Cancel;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Cancel> {
        let clock = Clock.run(&mut *connection).await?;
        let cancel = sqlx::query(CANCEL).bind(clock.as_millis()).bind(self.0);
        if let Some(row) = cancel.fetch_optional(&mut *connection).await? {
            return Ok(Cancel::Done(number(&row, 0)?));
        }
        Ok(match state(connection, self.0).await? {
            (Some((status, _)), _) => Cancel::TooLate(status),
            (None, true) => Cancel::Expired,
            (None, false) => Cancel::Unknown,
        })
    }
}

/// How far a request has come, and in which run; else whether it has expired.
async fn state(
    connection: &mut PgConnection,
    id: Uuid,
) -> sqlx::Result<(Option<(Status, u32)>, bool)> {
    let found = sqlx::query(sql::STATE).bind(id).fetch_optional(&mut *connection).await?;
    if let Some(row) = found {
        return Ok((Some((status(&row, 0)?, number(&row, 1)?)), false));
    }
    let is_buried = sqlx::query_scalar(IS_BURIED).bind(id).fetch_one(connection).await?;
    Ok((None, is_buried))
}

/// Begins the next run of a request that has failed in this one.
pub(super) struct ReplayOne(pub(super) Uuid, pub(super) u32);

impl Work for ReplayOne {
    type Answer = Replay;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Replay> {
        let Self(id, run) = *self;
        let replay = sqlx::query(REPLAY).bind(id).bind(i64::from(run));
        if replay.fetch_optional(&mut *connection).await?.is_some() {
            return Ok(Replay::Done);
        }
        let (stored, expired) = state(connection, id).await?;
        Ok(Replay::dropped(stored, run, expired))
    }
}

/// Lets a failed request expire.
pub(super) struct DiscardOne(pub(super) Uuid);

impl Work for DiscardOne {
    type Answer = Discard;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Discard> {
        let discard = sqlx::query(DISCARD).bind(self.0);
        if discard.fetch_optional(&mut *connection).await?.is_some() {
            return Ok(Discard::Done);
        }
        let (stored, expired) = state(connection, self.0).await?;
        Ok(Discard::dropped(stored.map(|(status, _)| status), expired))
    }
}

/// Clears a message away that belongs to no request.
pub(super) struct UnparkOne(pub(super) i64);

impl Work for UnparkOne {
    type Answer = DeleteParked;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<DeleteParked> {
        let unpark = sqlx::query(sql::UNPARK).bind(self.0).execute(&mut *connection).await?;
        if unpark.rows_affected() > 0 {
            return Ok(DeleteParked::Done);
        }
        let whose = sqlx::query_scalar::<_, Option<Uuid>>(sql::WHOSE).bind(self.0);
        let whose = whose.fetch_optional(connection).await?.flatten();
        Ok(whose.map_or(DeleteParked::Unknown, DeleteParked::Belongs))
    }
}

/// Clears away what is over.
pub(super) struct Expire(pub(super) Expiry);

impl Work for Expire {
    type Answer = Cleared;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Cleared> {
        let Expiry { ended_before, tombstones_before, at_most } = self.0;
        let at_most = i64::from(at_most);
        let requests = sqlx::query(EXPIRE).bind(ended_before.as_millis()).bind(at_most);
        let parked = sqlx::query(EXPIRE_PARKED).bind(ended_before.as_millis()).bind(at_most);
        let tombstones =
            sqlx::query(EXPIRE_TOMBSTONES).bind(tombstones_before.as_millis()).bind(at_most);
        Ok(Cleared {
            requests: requests.execute(&mut *connection).await?.rows_affected(),
            parked: parked.execute(&mut *connection).await?.rows_affected(),
            tombstones: tombstones.execute(&mut *connection).await?.rows_affected(),
            claims: expire_claims(connection, at_most).await?,
        })
    }
}

async fn expire_claims(connection: &mut PgConnection, at_most: i64) -> sqlx::Result<u64> {
    let now = Clock.run(&mut *connection).await?;
    let gone = sqlx::query(sql::EXPIRE_CLAIMS).bind(now.as_millis()).bind(at_most);
    let kept = sqlx::query(sql::PROLONG_CLAIMS)
        .bind((now + claim::KEPT).as_millis())
        .bind(now.as_millis())
        .bind(at_most);
    let gone = gone.execute(&mut *connection).await?.rows_affected();
    Ok(gone.max(kept.execute(connection).await?.rows_affected()))
}

/// Asks for a sign of life.
pub(super) struct Ping;

impl Work for Ping {
    type Answer = ();

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::query("SELECT 1").execute(connection).await.map(drop)
    }
}
