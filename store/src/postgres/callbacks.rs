//! Leases callbacks and records their attempts in PostgreSQL.

use std::time::Duration;

use pipeline::contract::Timestamp;
use sqlx::{Connection, PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{
    model::{
        callback::{AttemptReport, DUE_CANDIDATES, LeaseCallbacks, LeasedCallback, Leases},
        send_capacity::{DueCallback, Selection},
    },
    postgres::{
        clock::{Clock, now},
        row::{duration, number, time},
        session::Work,
    },
    sql,
};

/// Makes the callbacks of requests that a statement has just ended, as a part of that statement, out of the
/// rows that it returns: a read would not see rows that others have committed meanwhile.
macro_rules! callbacks_of_ended {
    () => {
        concat!(
            "called AS (INSERT INTO callbacks (request_id, of_run, host, ended_at, due_at) \
             SELECT id, run, callback_host, settled_at, settled_at FROM ended \
             WHERE callback_host IS NOT NULL",
            $crate::sql::callback_rule!(),
            ")"
        )
    };
}
pub(super) use callbacks_of_ended;

/// From when on the time for attempts counts.
macro_rules! since {
    () => {
        "GREATEST(ended_at, COALESCE(retried_at, 0))"
    };
}

/// Callbacks that another web service is leasing are left to it.
const DUE: &str = concat!(
    "SELECT request_id, host, $1 - ",
    since!(),
    " FROM callbacks WHERE state = 0 AND due_at <= $1 \
    AND host <> ALL($2) ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED"
);
const LEASE: &str = concat!(
    "UPDATE callbacks SET lease = $1, due_at = $2, calls = calls + 1 \
    WHERE request_id = ANY($3) RETURNING request_id, lease, host, of_run, calls, ended_at, $4 - ",
    since!()
);
const NEXT: &str =
    concat!("SELECT min(due_at) - ", now!(), " FROM callbacks WHERE state = 0 AND host <> ALL($1)");

impl Work for LeaseCallbacks {
    type Answer = Leases;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Leases> {
        let mut transaction = connection.begin().await?;
        let now = Clock.run(&mut transaction).await?;
        let due = sqlx::query(DUE)
            .bind(now.as_millis())
            .bind(self.capacity.full_hosts())
            .bind(DUE_CANDIDATES as i64);
        let due = due.fetch_all(&mut *transaction).await?;
        let due = due.iter().map(due_callback).collect::<sqlx::Result<_>>()?;
        let Selection { leased: selected, given_up } = self.capacity.select(due, self.max_age);
        for (id, _) in &given_up {
            let give_up = sqlx::query(sql::GIVE_UP_CALLBACK).bind(sql::NO_CAPACITY).bind(id);
            give_up.execute(&mut *transaction).await?;
        }
        let lease = sqlx::query(LEASE)
            .bind(self.lease)
            .bind((now + self.duration).as_millis())
            .bind(selected)
            .bind(now.as_millis());
        let rows = lease.fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        let leased = rows.iter().map(leased).collect::<sqlx::Result<_>>()?;
        Ok(Leases { leased, given_up })
    }
}

fn due_callback(row: &PgRow) -> sqlx::Result<DueCallback> {
    Ok(DueCallback { id: row.try_get(0)?, host: row.try_get(1)?, age: duration(row, 2)? })
}

fn leased(row: &PgRow) -> sqlx::Result<LeasedCallback> {
    Ok(LeasedCallback {
        id: row.try_get(0)?,
        lease: row.try_get(1)?,
        host: row.try_get(2)?,
        run: number(row, 3)?,
        attempt: number(row, 4)?,
        ended_at: time(row, 5)?,
        age: duration(row, 6)?,
    })
}

impl Work for AttemptReport {
    type Answer = ();

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let query = match self.update(Clock.run(&mut *connection).await?) {
            Some(update) => sqlx::query(sql::RECORD_ATTEMPT)
                .bind(update.state)
                .bind(update.due_at.map(Timestamp::as_millis))
                .bind(update.error.map(str::to_owned))
                .bind(update.delivered_at.map(Timestamp::as_millis)),
            None => sqlx::query(sql::DROP_CALLBACK),
        };
        query.bind(self.id).bind(self.lease).execute(connection).await.map(drop)
    }
}

/// Makes a callback due again.
pub(super) struct RetryCallback(pub(super) Uuid);

impl Work for RetryCallback {
    type Answer = bool;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<bool> {
        let now = Clock.run(&mut *connection).await?;
        let retry = sqlx::query(sql::RETRY_CALLBACK).bind(now.as_millis()).bind(self.0);
        Ok(retry.execute(connection).await?.rows_affected() > 0)
    }
}

/// How long until the next callback is due that goes to none of these hosts.
pub(super) struct NextCallbackIn(pub(super) Vec<String>);

impl Work for NextCallbackIn {
    type Answer = Option<Duration>;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Option<Duration>> {
        let next = sqlx::query_scalar::<_, Option<i64>>(NEXT).bind(&self.0);
        let millis = next.fetch_one(connection).await?;
        Ok(millis.map(|left| Duration::from_millis(u64::try_from(left).unwrap_or_default())))
    }
}
