//! Applies results in PostgreSQL.

use std::collections::HashMap;

use pipeline::contract::Timestamp;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::{
    model::worker_result::{Applied, StoredResult, WorkerResult, not_stored},
    postgres::{
        attempts::attempts_of_ended,
        batch::{Outcome, Rows},
        callbacks::callbacks_of_ended,
        clock::now,
        groups::{Groups, groups_added, groups_counted},
        row::{number, optional_time, status},
        stats::{minutes_counted, statuses_tallied},
    },
    sql::{has_history, is_stored, unnamed_run},
};

/// A success may be the end of a request that had failed. `xmax` is 0 in a row that the statement has inserted, and not in
/// one that it has updated.
macro_rules! apply {
    ([$($changes:literal)?] $($of_failures:expr),*) => {
        concat!(
    "WITH ended AS (INSERT INTO requests (id, status, run, attempts, deliveries, started_at, finished_at, \
     settled_at, worker, error_code, error_message, result) \
     SELECT new.id, new.status, \
     COALESCE(new.run, (SELECT ",
    unnamed_run!("new.status"),
    " FROM requests AS known WHERE known.id = new.id), 0), \
     new.attempts, new.deliveries, new.started_at, \
     new.finished_at, ",
    now!(),
    ", new.worker, new.error_code, new.error_message, new.result \
     FROM UNNEST($1::uuid[], $2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[], \
     $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::text[], $11::bytea[]) \
     AS new (id, status, run, attempts, deliveries, started_at, finished_at, worker, error_code, \
     error_message, result) \
     WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE tombstones.id = new.id) ORDER BY new.id \
     ON CONFLICT (id) DO UPDATE SET status = excluded.status, \
     run = GREATEST(excluded.run, requests.run), attempts = excluded.attempts, \
     deliveries = excluded.deliveries, \
     started_at = COALESCE(excluded.started_at, requests.started_at), \
     finished_at = excluded.finished_at, settled_at = excluded.settled_at, \
     next_attempt_at = NULL, worker = excluded.worker, error_code = excluded.error_code, \
     error_message = excluded.error_message, result = excluded.result WHERE ",
    is_stored!("excluded.status", "excluded.run"),
    " RETURNING id, status, run, attempts, deliveries, worker, started_at, finished_at, settled_at, \
     error_code, error_message, callback_host, type, xmax = 0 AS is_new, ",
    has_history!("run"),
    " AS has_history), ",
    callbacks_of_ended!(),
    ", left_groups AS (DELETE FROM failures USING ended WHERE failed_id = ended.id AND ended.status = 1 \
     RETURNING ended.type), ",
    minutes_counted!("ended", accepted "false", completed "status = 1", failed "status = 2",
        retried "false", cancelled "false"),
    $($of_failures,)*
    ", ",
    statuses_tallied!(concat!(
        // A request that was not new was queued, unless it had failed.
        "SELECT type, status, 1 FROM ended UNION ALL SELECT type, 0, -1 FROM ended WHERE NOT is_new \
         UNION ALL SELECT type, 0, 1 FROM left_groups UNION ALL SELECT type, 2, -1 FROM left_groups",
        $($changes)?
    )),
    " SELECT id, has_history, is_new FROM ended"
)
    };
}
const APPLY: &str = apply!([]);
const APPLY_WITH_FAILURES: &str = apply!(
    [" UNION ALL SELECT type, 0, 1 FROM failed_again UNION ALL SELECT type, 2, -1 FROM failed_again"]
    ", ",
    attempts_of_ended!(),
    ", entered AS (INSERT INTO failures (failed_id, group_id) SELECT ended.id, grouped.group_id \
     FROM ended JOIN UNNEST($12::uuid[], $13::bigint[]) AS grouped (id, group_id) \
     ON grouped.id = ended.id WHERE ended.status = 2 \
     ON CONFLICT (failed_id) DO UPDATE SET group_id = excluded.group_id \
     RETURNING failed_id, group_id, xmax = 0 AS is_new), \
     failed_again AS (SELECT ended.type FROM entered JOIN ended ON ended.id = failed_id \
     WHERE NOT entered.is_new), ",
    groups_added!("$14", "$15", "$16", "$17", "$18"),
    ", ",
    groups_counted!("entered")
);
/// Deletes rows that were made of results of requests which were discarded or have expired in the same moment. The statement that
/// made them waited for that, and had looked for tombstones before.
const BURY: &str = concat!(
    "WITH gone AS (DELETE FROM requests WHERE id = ANY($1) \
     AND (SELECT 1 FROM tombstones WHERE tombstones.id = requests.id) = 1 RETURNING id, type, status), \
     uncalled AS (DELETE FROM callbacks WHERE request_id IN (SELECT id FROM gone)), \
     unfailed AS (DELETE FROM failures WHERE failed_id IN (SELECT id FROM gone)), \
     untried AS (DELETE FROM attempts WHERE request_id IN (SELECT id FROM gone)), ",
    statuses_tallied!("SELECT type, status, -1 FROM gone"),
    " SELECT id FROM gone"
);
const STORED: &str = "SELECT id, status, run, noted_run, worker, finished_at, error_code FROM requests WHERE id = ANY($1)";

/// Applies results of different requests, and says what became of each.
pub(super) async fn apply(
    connection: &mut PgConnection,
    rows: &[&WorkerResult],
) -> sqlx::Result<Vec<Applied>> {
    let ended = write(connection, rows).await?;
    let others: Vec<_> =
        rows.iter().map(|row| row.id).filter(|id| !ended.contains_key(id)).collect();
    let stored = match others.is_empty() {
        true => HashMap::new(),
        false => stored(connection, others).await?,
    };
    let applied = |row: &&WorkerResult| match ended.get(&row.id) {
        Some(has_history) => Applied::stored(*has_history),
        None => not_stored(stored.get(&row.id), row),
    };
    Ok(rows.iter().map(applied).collect())
}

/// Writes results, and returns the ids of the requests that they end, and which of these have a history.
async fn write(
    connection: &mut PgConnection,
    rows: &[&WorkerResult],
) -> sqlx::Result<HashMap<Uuid, bool>> {
    let millis = |at: Option<Timestamp>| at.map(Timestamp::as_millis);
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let statuses: Vec<i16> = rows.iter().map(|row| row.outcome.status().number()).collect();
    let runs: Vec<Option<i64>> = rows.iter().map(|row| row.run.map(i64::from)).collect();
    let attempts: Vec<i64> = rows.iter().map(|row| row.attempt.into()).collect();
    let deliveries: Vec<i64> = rows.iter().map(|row| row.deliveries.into()).collect();
    let started: Vec<Option<i64>> = rows.iter().map(|row| millis(row.started_at)).collect();
    let finished: Vec<Option<i64>> = rows.iter().map(|row| millis(row.finished_at)).collect();
    let workers: Vec<Option<&str>> = rows.iter().map(|row| row.worker.as_deref()).collect();
    let errors = || rows.iter().map(|row| row.outcome.error());
    let codes: Vec<Option<&str>> = errors().map(|error| Some(error?.code.as_str())).collect();
    let messages: Vec<Option<&str>> = errors().map(|error| Some(error?.message.as_str())).collect();
    let results: Vec<Option<&[u8]>> = rows.iter().map(|row| row.outcome.result()).collect();
    let failed: Vec<_> =
        rows.iter().filter_map(|row| Some((row.id, row.outcome.error()?))).collect();
    let sql = if failed.is_empty() { APPLY } else { APPLY_WITH_FAILURES };
    let query = sqlx::query(sql).bind(ids).bind(statuses).bind(runs).bind(attempts);
    let query = query.bind(deliveries).bind(started).bind(finished).bind(workers);
    let mut query = query.bind(codes).bind(messages).bind(results);
    let groups = Groups::of(&mut *connection, failed.iter().copied()).await?;
    if !failed.is_empty() {
        let failed: Vec<Uuid> = failed.iter().map(|(id, _)| *id).collect();
        query = groups.bind(query.bind(failed).bind(&groups.of_errors));
    }
    let rows = query.fetch_all(&mut *connection).await?;
    let ended = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let mut ended: HashMap<Uuid, bool> = ended.collect::<sqlx::Result<_>>()?;
    let new = rows.iter().filter(|row| row.try_get(2).unwrap_or(false));
    let new: Vec<Uuid> = new.map(|row| row.try_get(0)).collect::<sqlx::Result<_>>()?;
    if !new.is_empty() {
        let gone: Vec<Uuid> = sqlx::query_scalar(BURY).bind(new).fetch_all(connection).await?;
        ended.retain(|id, _| !gone.contains(id));
    }
    Ok(ended)
}

async fn stored(
    connection: &mut PgConnection,
    ids: Vec<Uuid>,
) -> sqlx::Result<HashMap<Uuid, StoredResult>> {
    let rows = sqlx::query(STORED).bind(ids).fetch_all(connection).await?;
    let stored = rows.into_iter().map(|row| {
        let stored = StoredResult {
            status: status(&row, 1)?,
            run: number(&row, 2)?,
            noted_run: number(&row, 3)?,
            worker: row.try_get(4)?,
            finished_at: optional_time(&row, 5)?,
            error_code: row.try_get(6)?,
        };
        Ok((row.try_get(0)?, stored))
    });
    stored.collect()
}

impl Outcome for Applied {
    /// A result that is stored already was stored the first time, and nobody was told.
    fn when_repeated(self) -> Self {
        match self {
            Self::Duplicate => Self::StoredWithHistory,
            other => other,
        }
    }
}

impl Rows for WorkerResult {
    type Outcome = Applied;

    fn key(&self) -> Uuid {
        self.id
    }

    fn bytes(&self) -> usize {
        let error = self.outcome.error().map_or(0, |error| error.message.len());
        self.outcome.result().map_or(0, <[u8]>::len) + error + 200
    }

    async fn write(connection: &mut PgConnection, rows: &[Self]) -> sqlx::Result<Vec<Applied>> {
        apply(connection, &rows.iter().collect::<Vec<_>>()).await
    }

    fn refused(reason: String) -> Applied {
        Applied::BadRow(reason)
    }
}
