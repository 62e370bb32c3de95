//! Bulk runs in PostgreSQL.

use std::time::Duration;

use pipeline::contract::Timestamp;
use sqlx::{PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{
    model::bulk_run::{BulkRun, BulkRunReport, LeaseBulkRuns, NewBulkRun, Reported},
    postgres::{clock::Clock, row::time, session::Work},
    sql::bulk_runs::{ADD, EXPIRE, GET, LIST, NEXT, REPORT, STOP, lease_bulk_runs},
};

impl Work for NewBulkRun {
    type Answer = ();

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let now = Clock.run(&mut *connection).await?;
        let add = sqlx::query(ADD).bind(self.id).bind(&self.plan).bind(&self.progress);
        let add = add.bind(now.as_millis()).bind((now + self.due_in).as_millis());
        add.execute(connection).await.map(drop)
    }
}

impl Work for LeaseBulkRuns {
    type Answer = Vec<BulkRun>;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<BulkRun>> {
        let now = Clock.run(&mut *connection).await?;
        let lease = sqlx::query(lease_bulk_runs!(" FOR UPDATE SKIP LOCKED")).bind(self.lease);
        let lease = lease.bind((now + self.duration).as_millis()).bind(now.as_millis());
        let rows = lease.bind(i64::from(self.limit)).fetch_all(connection).await?;
        rows.iter().map(run).collect()
    }
}

impl Work for BulkRunReport {
    type Answer = Reported;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Reported> {
        let now = Clock.run(&mut *connection).await?;
        let report = sqlx::query_scalar(REPORT).bind(&self.progress).bind(self.is_over);
        let report = report.bind((now + self.due_in).as_millis()).bind(self.id).bind(self.lease);
        report.fetch_optional(connection).await.map(Reported::of)
    }
}

/// Asks to stop a run.
pub(super) struct StopBulkRun(pub(super) Uuid);

impl Work for StopBulkRun {
    type Answer = bool;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<bool> {
        let now = Clock.run(&mut *connection).await?;
        let stop = sqlx::query(STOP).bind(now.as_millis()).bind(self.0);
        Ok(stop.execute(connection).await?.rows_affected() > 0)
    }
}

/// How long until the next run is due.
pub(super) struct NextBulkRunIn;

impl Work for NextBulkRunIn {
    type Answer = Option<Duration>;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Option<Duration>> {
        let now = Clock.run(&mut *connection).await?;
        let next = sqlx::query_scalar::<_, Option<i64>>(NEXT).fetch_one(connection).await?;
        Ok(next.map(|next| Timestamp::from_millis(next).saturating_duration_since(now)))
    }
}

/// A run.
pub(super) struct GetBulkRun(pub(super) Uuid);

impl Work for GetBulkRun {
    type Answer = Option<BulkRun>;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Option<BulkRun>> {
        let row = sqlx::query(GET).bind(self.0).fetch_optional(connection).await?;
        row.as_ref().map(run).transpose()
    }
}

/// The latest runs.
pub(super) struct ListBulkRuns(pub(super) u32);

impl Work for ListBulkRuns {
    type Answer = Vec<BulkRun>;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<BulkRun>> {
        let rows = sqlx::query(LIST).bind(i64::from(self.0)).fetch_all(connection).await?;
        rows.iter().map(run).collect()
    }
}

/// Deletes old runs that are over.
pub(super) async fn expire(
    connection: &mut PgConnection,
    made_before: Timestamp,
    limit: i64,
) -> sqlx::Result<()> {
    let expire = sqlx::query(EXPIRE).bind(made_before.as_millis()).bind(limit);
    expire.execute(connection).await.map(drop)
}

fn run(row: &PgRow) -> sqlx::Result<BulkRun> {
    Ok(BulkRun {
        id: row.try_get(0)?,
        plan: row.try_get(1)?,
        progress: row.try_get(2)?,
        is_over: row.try_get(3)?,
        is_stop_asked: row.try_get(4)?,
        created_at: time(row, 5)?,
    })
}
