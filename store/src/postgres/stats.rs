//! Counts what happens in PostgreSQL, and reads the statistics.

use std::collections::BTreeMap;

use pipeline::contract::Timestamp;
use sqlx::{PgConnection, Row, postgres::PgRow};

use crate::{
    model::stats::{
        Counts, HOUR_MINUTES, HOURS_RETENTION, MINUTES_RETENTION, Stats, StatsQuery, StatsRange,
        Totals, minute,
    },
    postgres::{clock::Clock, session::Work},
    sql::stats::{DELETE_HOURS, HOURS, MINUTES, TALLIES},
};

/// Counts rows in their minute, by their `type`, in rows of this connection: those that meet each condition.
macro_rules! minutes_counted {
    ($rows:literal, accepted $accepted:literal, completed $completed:literal, failed $failed:literal,
        retried $retried:literal, cancelled $cancelled:literal) => {
        concat!(
            "counted AS (INSERT INTO minutes (minute, writer, type, accepted, completed, failed, retried, \
             cancelled) SELECT ",
            $crate::postgres::clock::now!(),
            " / 60000, pg_backend_pid(), type, count(*) FILTER (WHERE ",
            $accepted,
            "), count(*) FILTER (WHERE ",
            $completed,
            "), count(*) FILTER (WHERE ",
            $failed,
            "), count(*) FILTER (WHERE ",
            $retried,
            "), count(*) FILTER (WHERE ",
            $cancelled,
            ") FROM ",
            $rows,
            " GROUP BY type ORDER BY type ON CONFLICT (minute, writer, type) DO UPDATE SET \
             accepted = minutes.accepted + excluded.accepted, \
             completed = minutes.completed + excluded.completed, \
             failed = minutes.failed + excluded.failed, \
             retried = minutes.retried + excluded.retried, \
             cancelled = minutes.cancelled + excluded.cancelled)"
        )
    };
}

/// Adds changes, each a type, a status and how many more requests have it, to the rows of this connection.
macro_rules! statuses_tallied {
    ($changes:expr) => {
        concat!(
            "tallied AS (INSERT INTO tallies (writer, type, queued, completed, failed, cancelled) \
             SELECT pg_backend_pid(), type, COALESCE(sum(more) FILTER (WHERE status = 0), 0), \
             COALESCE(sum(more) FILTER (WHERE status = 1), 0), \
             COALESCE(sum(more) FILTER (WHERE status = 2), 0), \
             COALESCE(sum(more) FILTER (WHERE status = 3), 0) FROM (",
            $changes,
            ") AS changes (type, status, more) GROUP BY type ORDER BY type \
             ON CONFLICT (writer, type) DO UPDATE SET queued = tallies.queued + excluded.queued, \
             completed = tallies.completed + excluded.completed, \
             failed = tallies.failed + excluded.failed, \
             cancelled = tallies.cancelled + excluded.cancelled)"
        )
    };
}
pub(super) use {minutes_counted, statuses_tallied};

const ROLL_UP: &str = "WITH old AS (DELETE FROM minutes WHERE (minute, writer, type) IN \
    (SELECT minute, writer, type FROM minutes WHERE minute < $1 LIMIT 10000 FOR UPDATE SKIP LOCKED) \
    RETURNING *) INSERT INTO hours (hour, type, accepted, completed, failed, retried, cancelled) \
    SELECT minute / 60, type, sum(accepted), sum(completed), sum(failed), sum(retried), sum(cancelled) \
    FROM old GROUP BY minute / 60, type ORDER BY 1, 2 ON CONFLICT (hour, type) DO UPDATE SET \
    accepted = hours.accepted + excluded.accepted, completed = hours.completed + excluded.completed, \
    failed = hours.failed + excluded.failed, retried = hours.retried + excluded.retried, \
    cancelled = hours.cancelled + excluded.cancelled";
/// Merges the rows of all connections, of which many are closed.
const MERGE: &str = "WITH old AS (DELETE FROM tallies WHERE (writer, type) IN \
    (SELECT writer, type FROM tallies WHERE writer <> 0 LIMIT 10000 FOR UPDATE SKIP LOCKED) RETURNING *) \
    INSERT INTO tallies (writer, type, queued, completed, failed, cancelled) \
    SELECT 0, type, sum(queued), sum(completed), sum(failed), sum(cancelled) \
    FROM old GROUP BY type ORDER BY type ON CONFLICT (writer, type) DO UPDATE SET \
    queued = tallies.queued + excluded.queued, completed = tallies.completed + excluded.completed, \
    failed = tallies.failed + excluded.failed, cancelled = tallies.cancelled + excluded.cancelled";

/// Adds the counts of old minutes to those of hours, deletes those of old hours, and merges the rows of all connections.
pub(super) async fn roll_up(connection: &mut PgConnection, now: Timestamp) -> sqlx::Result<()> {
    let (minutes, hours) = (minute(now - MINUTES_RETENTION), minute(now - HOURS_RETENTION));
    sqlx::query(ROLL_UP).bind(minutes).execute(&mut *connection).await?;
    sqlx::query(DELETE_HOURS).bind(hours / HOUR_MINUTES).execute(&mut *connection).await?;
    sqlx::query(MERGE).execute(connection).await.map(drop)
}

impl Work for StatsQuery {
    type Answer = Stats;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Stats> {
        let (now, Self { range, kind }) = (Clock.run(&mut *connection).await?, self);
        let (first, minutes) = (range.first_bucket(now), range.bucket_minutes());
        let rows = sqlx::query(MINUTES).bind(minutes).bind(first * minutes).bind(kind);
        let mut rows = rows.fetch_all(&mut *connection).await?;
        if *range == StatsRange::Week {
            let hours = sqlx::query(HOURS).bind(first).bind(kind);
            rows.extend(hours.fetch_all(&mut *connection).await?);
        }
        let mut counted: BTreeMap<i64, Counts> = BTreeMap::new();
        for row in &rows {
            counted.entry(row.try_get(0)?).or_default().add(counts(row)?);
        }
        let totals = sqlx::query(TALLIES).bind(kind).fetch_all(connection).await?;
        let totals = totals.iter().map(|row| Ok((row.try_get(0)?, totals_of(row)?)));
        let totals = totals.collect::<sqlx::Result<_>>()?;
        Ok(Stats { at: now, buckets: range.fill(now, &counted), totals })
    }
}

fn counts(row: &PgRow) -> sqlx::Result<Counts> {
    Ok(Counts {
        accepted: number(row, 1)?,
        completed: number(row, 2)?,
        failed: number(row, 3)?,
        retried: number(row, 4)?,
        cancelled: number(row, 5)?,
    })
}

fn totals_of(row: &PgRow) -> sqlx::Result<Totals> {
    Ok(Totals {
        queued: number(row, 1)?,
        completed: number(row, 2)?,
        failed: number(row, 3)?,
        cancelled: number(row, 4)?,
    })
}

fn number(row: &PgRow, column: usize) -> sqlx::Result<u64> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
}
