//! Lists attempts in PostgreSQL.

use pipeline::contract::ErrorBody;
use sqlx::{PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{
    model::attempt::Attempt,
    postgres::{
        row::{number, optional_time},
        session::Work,
    },
    sql::attempts::ATTEMPTS,
};

/// Keeps the attempts with which requests have just failed, as a part of the statement that ended them.
macro_rules! attempts_of_ended {
    () => {
        concat!(
            "kept AS (INSERT INTO attempts (",
            $crate::sql::attempts::attempt_columns!(),
            ") ",
            $crate::sql::attempts::last_failure!("ended"),
            " ON CONFLICT DO NOTHING)"
        )
    };
}
pub(super) use attempts_of_ended;

/// The attempts at a request that failed, the latest first.
pub(super) struct GetFailedAttempts {
    pub(super) id: Uuid,
    pub(super) limit: u32,
}

impl Work for GetFailedAttempts {
    type Answer = Vec<Attempt>;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<Attempt>> {
        let rows = sqlx::query(ATTEMPTS).bind(self.id).bind(i64::from(self.limit));
        rows.fetch_all(connection).await?.iter().map(attempt).collect()
    }
}

fn attempt(row: &PgRow) -> sqlx::Result<Attempt> {
    let error = ErrorBody::new(row.try_get::<String, _>(8)?, row.try_get::<String, _>(9)?);
    Ok(Attempt {
        run: number(row, 1)?,
        attempt: number(row, 2)?,
        delivery: number(row, 4)?,
        worker: row.try_get(5)?,
        started_at: optional_time(row, 6)?,
        ended_at: optional_time(row, 7)?,
        error: Some(error),
        next_attempt_at: optional_time(row, 10)?,
    })
}
