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
    sql::{
        self,
        due_callbacks::{due_hosts, due_to_host, early, hosts, next_of_host},
    },
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

/// Callbacks that another web service is leasing are left to it, and those that were put off meanwhile are not due any more, here
/// and below. Whatever the server expects of hosts, it finds the early ones along an index.
pub(crate) const DUE_FIRST: &str = concat!(
    "SELECT request_id, host, $1 - ",
    since!(),
    " FROM callbacks WHERE request_id = ANY(ARRAY",
    early!("request_id", " AND due_at <= $1"),
    ") AND state = 0 AND due_at <= $1 AND host <> ALL($2) ORDER BY due_at LIMIT $3 \
     FOR UPDATE SKIP LOCKED"
);
pub(crate) const DUE_BY_HOST: &str = concat!(
    "WITH ",
    due_hosts!("''::text COLLATE \"C\"", "host <> ALL($2)"),
    " SELECT request_id, host, $1 - ",
    since!(),
    " FROM callbacks WHERE request_id = ANY(ARRAY(SELECT due.request_id \
     FROM due_hosts CROSS JOIN LATERAL (",
    due_to_host!(),
    ") AS due ORDER BY due.due_at LIMIT $3)) \
     AND state = 0 AND due_at <= $1 ORDER BY due_at FOR UPDATE SKIP LOCKED"
);
const LEASE: &str = concat!(
    "UPDATE callbacks SET lease = $1, due_at = $2, calls = calls + 1 \
    WHERE request_id = ANY($3) RETURNING request_id, lease, host, of_run, calls, ended_at, $4 - ",
    since!()
);
pub(crate) const NEXT_FIRST: &str = concat!(
    "SELECT due_at - ",
    now!(),
    " FROM ",
    early!("due_at, host", ""),
    " AS early WHERE host <> ALL($1) ORDER BY due_at LIMIT 1"
);
pub(crate) const NEXT_BY_HOST: &str = concat!(
    "WITH ",
    hosts!("''::text COLLATE \"C\""),
    " SELECT min(",
    next_of_host!(),
    ") - ",
    now!(),
    " FROM hosts WHERE host <> ALL($1)"
);

impl Work for LeaseCallbacks {
    type Answer = Leases;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Leases> {
        let mut transaction = connection.begin().await?;
        let now = Clock.run(&mut transaction).await?;
        let full = self.capacity.full_hosts();
        let mut due = due_callbacks(&mut transaction, DUE_FIRST, now, &full).await?;
        if due.is_empty() {
            due = due_callbacks(&mut transaction, DUE_BY_HOST, now, &full).await?;
        }
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

/// The callbacks that a statement finds due.
async fn due_callbacks(
    connection: &mut PgConnection,
    sql: &'static str,
    now: Timestamp,
    full: &[String],
) -> sqlx::Result<Vec<DueCallback>> {
    let due = sqlx::query(sql).bind(now.as_millis()).bind(full).bind(DUE_CANDIDATES as i64);
    let callback = |row: &PgRow| {
        Ok(DueCallback { id: row.try_get(0)?, host: row.try_get(1)?, age: duration(row, 2)? })
    };
    due.fetch_all(connection).await?.iter().map(callback).collect()
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
        let next = |sql| sqlx::query_scalar::<_, Option<i64>>(sql).bind(&self.0);
        let millis = match next(NEXT_FIRST).fetch_optional(&mut *connection).await?.flatten() {
            None => next(NEXT_BY_HOST).fetch_one(connection).await?,
            first => first,
        };
        Ok(millis.map(|left| Duration::from_millis(u64::try_from(left).unwrap_or_default())))
    }
}
