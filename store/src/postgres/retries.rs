//! Records scheduled retries in PostgreSQL.

use pipeline::contract::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{model::request::ScheduledRetry, postgres::batch::Rows};

/// News of a run that is noted show that it was published. The rows are locked in order, so that two statements can't deadlock.
const RECORD_RETRY: &str = "WITH locked AS \
    (SELECT id FROM requests WHERE id = ANY($1::uuid[]) AND status = 0 ORDER BY id FOR UPDATE) \
    UPDATE requests SET attempts = new.attempts, last_error = new.last_error, \
    next_attempt_at = new.next_attempt_at, run = new.run \
    FROM locked, UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[]) \
    AS new (id, run, attempts, last_error, next_attempt_at) \
    WHERE requests.id = locked.id AND new.id = locked.id AND requests.status = 0 \
    AND (requests.run = new.run OR requests.run < new.run AND requests.noted_run >= new.run) \
    AND requests.attempts <= new.attempts";

impl Rows for ScheduledRetry {
    type Outcome = ();

    fn key(&self) -> Uuid {
        self.id
    }

    fn bytes(&self) -> usize {
        self.last_error.len() + 100
    }

    async fn write(connection: &mut PgConnection, rows: &[Self]) -> sqlx::Result<Vec<()>> {
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let runs: Vec<i64> = rows.iter().map(|row| row.run.into()).collect();
        let attempts: Vec<i64> = rows.iter().map(|row| row.attempts.into()).collect();
        let errors: Vec<&str> = rows.iter().map(|row| row.last_error.as_str()).collect();
        let next: Vec<Option<i64>> =
            rows.iter().map(|row| row.next_attempt_at.map(Timestamp::as_millis)).collect();
        let query = sqlx::query(RECORD_RETRY).bind(ids).bind(runs).bind(attempts);
        query.bind(errors).bind(next).execute(connection).await?;
        Ok(vec![(); rows.len()])
    }

    fn refused(reason: String) {
        tracing::warn!(reason, "a retry could not be recorded");
    }
}
