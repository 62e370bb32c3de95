//! Records scheduled retries in PostgreSQL.

use pipeline::contract::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    model::request::ScheduledRetry,
    postgres::{
        batch::Rows,
        groups::{Groups, groups_added, groups_counted},
        stats::minutes_counted,
    },
    sql::attempts::attempt_columns,
};

/// News of a run that is noted show that it was published. The rows are locked in order, so that two statements can't
/// deadlock. The attempts are kept also if their requests have gone on.
const RECORD_RETRY: &str = concat!(
    "WITH new AS (SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], \
     $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::bigint[], $11::text[], $12::bigint[]) \
     AS new (id, run, attempt, delivery, worker, began_at, ended_at, code, message, next_at, last_error, \
     group_id)), \
     locked AS (SELECT id, run, noted_run, type FROM requests WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE), \
     kept AS (INSERT INTO attempts (",
    attempt_columns!(),
    ") SELECT new.id, new.run, new.attempt, 0, new.delivery, new.worker, new.began_at, new.ended_at, \
     new.code, substr(new.message, 1, 2000), new.next_at FROM new JOIN locked ON locked.id = new.id \
     WHERE locked.run >= new.run OR locked.noted_run >= new.run ORDER BY new.id ON CONFLICT DO NOTHING \
     RETURNING request_id), ",
    groups_added!("$13", "$14", "$15", "$16", "$17"),
    ", ",
    groups_counted!("kept JOIN new ON new.id = request_id"),
    ", ",
    minutes_counted!("kept JOIN locked ON locked.id = request_id", accepted "false", completed "false",
        failed "false", retried "true", cancelled "false"),
    " UPDATE requests SET attempts = new.attempt, last_error = new.last_error, \
     next_attempt_at = new.next_at, run = new.run FROM locked, new \
     WHERE requests.id = locked.id AND new.id = locked.id AND requests.status = 0 \
     AND (requests.run = new.run OR requests.run < new.run AND requests.noted_run >= new.run) \
     AND requests.attempts <= new.attempt"
);

impl Rows for ScheduledRetry {
    type Outcome = ();

    fn key(&self) -> Uuid {
        self.id
    }

    fn bytes(&self) -> usize {
        self.error.message.len() + 200
    }

    async fn write(connection: &mut PgConnection, rows: &[Self]) -> sqlx::Result<Vec<()>> {
        let millis = |at: Option<Timestamp>| at.map(Timestamp::as_millis);
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let runs: Vec<i64> = rows.iter().map(|row| row.run.into()).collect();
        let attempts: Vec<i64> = rows.iter().map(|row| row.attempts.into()).collect();
        let deliveries: Vec<i64> = rows.iter().map(|row| row.delivery.into()).collect();
        let workers: Vec<Option<&str>> = rows.iter().map(|row| row.worker.as_deref()).collect();
        let began: Vec<Option<i64>> = rows.iter().map(|row| millis(row.started_at)).collect();
        let ended: Vec<Option<i64>> = rows.iter().map(|row| millis(row.ended_at)).collect();
        let codes: Vec<&str> = rows.iter().map(|row| row.error.code.as_str()).collect();
        let messages: Vec<&str> = rows.iter().map(|row| row.error.message.as_str()).collect();
        let next: Vec<Option<i64>> = rows.iter().map(|row| millis(row.next_attempt_at)).collect();
        let errors: Vec<&str> = rows.iter().map(ScheduledRetry::last_error).collect();
        let query = sqlx::query(RECORD_RETRY).bind(ids).bind(runs).bind(attempts).bind(deliveries);
        let query = query.bind(workers).bind(began).bind(ended).bind(codes).bind(messages);
        let of_rows = rows.iter().map(|row| (row.id, &row.error));
        let groups = Groups::of(&mut *connection, of_rows).await?;
        let query = query.bind(next).bind(errors).bind(&groups.of_errors);
        groups.bind(query).execute(connection).await?;
        Ok(vec![(); rows.len()])
    }

    fn refused(reason: String) {
        tracing::warn!(reason, "a retry could not be recorded");
    }
}
