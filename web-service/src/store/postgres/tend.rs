//! The rarer changes: news of retries, cancels, expiry.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    batch::Rows,
    callbacks::callbacks_of_ended,
    clock::{Clock, moment},
    line::Work,
    row::{number, status},
};
use crate::store::{
    Cancel, Cleared, Expiry, Retrying, claim,
    sql::{self, cancel, retrying_rule, retrying_run},
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
const CANCEL: &str = concat!(
    "WITH ended AS (",
    cancel!(),
    " RETURNING id, run, settled_at, callback_host), ",
    callbacks_of_ended!(),
    " SELECT run FROM ended"
);
const STATUS: &str = "SELECT status FROM requests WHERE id = $1";
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
        let next: Vec<Option<i64>> = rows.iter().map(|row| row.next_attempt_at).collect();
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
        let cancel = sqlx::query(CANCEL).bind(clock).bind(self.0);
        if let Some(row) = cancel.fetch_optional(&mut *connection).await? {
            return Ok(Cancel::Done(number(&row, 0)?));
        }
        let found = sqlx::query(STATUS).bind(self.0).fetch_optional(&mut *connection).await?;
        if let Some(row) = found {
            return Ok(Cancel::TooLate(status(&row, 0)?));
        }
        let is_buried = sqlx::query_scalar(IS_BURIED).bind(self.0).fetch_one(connection).await?;
        Ok(if is_buried { Cancel::Expired } else { Cancel::Unknown })
    }
}

/// Clears away what is over.
pub(super) struct Expire(pub(super) Expiry);

impl Work for Expire {
    type Answer = Cleared;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Cleared> {
        let Expiry { ended_before, tombstones_before, at_most } = self.0;
        let at_most = i64::from(at_most);
        let requests = sqlx::query(EXPIRE).bind(ended_before).bind(at_most);
        let parked = sqlx::query(EXPIRE_PARKED).bind(ended_before).bind(at_most);
        let tombstones = sqlx::query(EXPIRE_TOMBSTONES).bind(tombstones_before).bind(at_most);
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
    let gone = sqlx::query(sql::EXPIRE_CLAIMS).bind(now).bind(at_most);
    let kept = sqlx::query(sql::PROLONG_CLAIMS).bind(now + claim::KEPT).bind(now).bind(at_most);
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
