//! Counts what happens in SQLite, and reads the statistics.

use std::{cell::RefCell, collections::BTreeMap};

use pipeline::contract::Timestamp;
use rusqlite::{Connection, Row, params};

use crate::{
    model::{
        request::Status,
        stats::{
            Counts, HOUR_MINUTES, HOURS_RETENTION, MINUTES_RETENTION, Stats, StatsQuery,
            StatsRange, Totals, minute,
        },
    },
    sql::stats::{DELETE_HOURS, HOURS, MINUTES, TALLIES},
};

const COUNT: &str = "INSERT INTO minutes (minute, writer, type, accepted, completed, failed, retried, \
    cancelled) VALUES ($1, 0, $2, $3, $4, $5, $6, $7) ON CONFLICT (minute, writer, type) DO UPDATE SET \
    accepted = accepted + $3, completed = completed + $4, failed = failed + $5, \
    retried = retried + $6, cancelled = cancelled + $7";
const TALLY: &str = "INSERT INTO tallies (writer, type, queued, completed, failed, cancelled) \
    VALUES (0, $1, $2, $3, $4, $5) ON CONFLICT (writer, type) DO UPDATE SET queued = queued + $2, \
    completed = completed + $3, failed = failed + $4, cancelled = cancelled + $5";
const ROLL_UP: &str = "INSERT INTO hours (hour, type, accepted, completed, failed, retried, cancelled) \
    SELECT minute / 60, type, sum(accepted), sum(completed), sum(failed), sum(retried), sum(cancelled) \
    FROM minutes WHERE minute < $1 GROUP BY minute / 60, type ON CONFLICT (hour, type) DO UPDATE SET \
    accepted = hours.accepted + excluded.accepted, completed = hours.completed + excluded.completed, \
    failed = hours.failed + excluded.failed, retried = hours.retried + excluded.retried, \
    cancelled = hours.cancelled + excluded.cancelled";
const DELETE_MINUTES: &str = "DELETE FROM minutes WHERE minute < $1";

/// Something that is counted in its minute.
#[derive(Debug, Clone, Copy)]
pub(super) enum Happened {
    Accepted,
    Ended(Status),
    Retried,
}

/// What has happened in a transaction, by type of request.
#[derive(Debug, Default)]
pub(super) struct Tally(RefCell<Vec<(String, Changes)>>);

#[derive(Debug, Default)]
struct Changes {
    counts: Counts,
    /// How many more requests have each status.
    statuses: [i64; Status::ALL.len()],
}

impl Tally {
    /// Counts something that has happened to a request of this type.
    pub(super) fn count(&self, kind: &str, happened: Happened) {
        self.change(kind, |Changes { counts, .. }| match happened {
            Happened::Accepted => counts.accepted += 1,
            Happened::Ended(Status::Completed) => counts.completed += 1,
            Happened::Ended(Status::Failed) => counts.failed += 1,
            Happened::Ended(Status::Cancelled) => counts.cancelled += 1,
            Happened::Ended(Status::Queued) => {}
            Happened::Retried => counts.retried += 1,
        });
    }

    /// Notes that a request of this type has one status no more, and has another; none if it is new, or gone.
    pub(super) fn turn(&self, kind: &str, from: Option<Status>, to: Option<Status>) {
        self.change(kind, |Changes { statuses, .. }| {
            for (status, more) in [(from, -1), (to, 1)] {
                if let Some(status) = status {
                    statuses[status as usize] += more;
                }
            }
        });
    }

    fn change(&self, kind: &str, change: impl FnOnce(&mut Changes)) {
        let mut all = self.0.borrow_mut();
        let at = all.iter().position(|(its_kind, _)| its_kind == kind).unwrap_or_else(|| {
            all.push((kind.to_owned(), Changes::default()));
            all.len() - 1
        });
        change(&mut all[at].1);
    }

    /// Writes what has happened.
    pub(super) fn write(&self, connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
        for (kind, Changes { counts, statuses }) in self.0.borrow().iter() {
            if *counts != Counts::default() {
                let Counts { accepted, completed, failed, retried, cancelled } = *counts;
                let [accepted, completed, failed, retried, cancelled] =
                    [accepted, completed, failed, retried, cancelled].map(u64::cast_signed);
                let values =
                    params![minute(now), kind, accepted, completed, failed, retried, cancelled];
                connection.prepare_cached(COUNT)?.execute(values)?;
            }
            if *statuses != [0; Status::ALL.len()] {
                let [queued, completed, failed, cancelled] = *statuses;
                let values = params![kind, queued, completed, failed, cancelled];
                connection.prepare_cached(TALLY)?.execute(values)?;
            }
        }
        Ok(())
    }
}

/// Adds the counts of old minutes to those of hours, and deletes those of old hours.
pub(super) fn roll_up(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    let (minutes, hours) = (minute(now - MINUTES_RETENTION), minute(now - HOURS_RETENTION));
    connection.prepare_cached(ROLL_UP)?.execute([minutes])?;
    connection.prepare_cached(DELETE_MINUTES)?.execute([minutes])?;
    connection.prepare_cached(DELETE_HOURS)?.execute([hours / HOUR_MINUTES]).map(drop)
}

pub(super) fn stats(connection: &Connection, query: &StatsQuery) -> rusqlite::Result<Stats> {
    let (now, StatsQuery { range, kind }) = (Timestamp::now(), query);
    let (first, minutes) = (range.first_bucket(now), range.bucket_minutes());
    let mut counted: BTreeMap<i64, Counts> = BTreeMap::new();
    let mut add = |row: &Row<'_>| {
        counted.entry(row.get(0)?).or_default().add(counts(row)?);
        Ok(())
    };
    let mut statement = connection.prepare_cached(MINUTES)?;
    let rows = statement.query_map(params![minutes, first * minutes, kind], &mut add)?;
    rows.collect::<rusqlite::Result<()>>()?;
    if *range == StatsRange::Week {
        let mut statement = connection.prepare_cached(HOURS)?;
        let rows = statement.query_map(params![first, kind], &mut add)?;
        rows.collect::<rusqlite::Result<()>>()?;
    }
    let mut statement = connection.prepare_cached(TALLIES)?;
    let totals = statement.query_map([kind], |row| Ok((row.get(0)?, totals(row)?)))?;
    let totals = totals.collect::<rusqlite::Result<_>>()?;
    Ok(Stats { at: now, buckets: range.fill(now, &counted), totals })
}

fn counts(row: &Row<'_>) -> rusqlite::Result<Counts> {
    Ok(Counts {
        accepted: number(row, 1)?,
        completed: number(row, 2)?,
        failed: number(row, 3)?,
        retried: number(row, 4)?,
        cancelled: number(row, 5)?,
    })
}

fn totals(row: &Row<'_>) -> rusqlite::Result<Totals> {
    Ok(Totals {
        queued: number(row, 1)?,
        completed: number(row, 2)?,
        failed: number(row, 3)?,
        cancelled: number(row, 4)?,
    })
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}
