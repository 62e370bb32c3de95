//! The settings of the PostgreSQL server.

use sqlx::{PgConnection, Row};

use crate::{model::inspection::Inspection, postgres::session::Work};

const SETTINGS: &str = "SELECT current_setting('fsync')::bool, \
    current_setting('full_page_writes')::bool, pg_is_in_recovery()";

/// Reads the settings.
pub(super) struct Inspect;

impl Work for Inspect {
    type Answer = Inspection;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Inspection> {
        let row = sqlx::query(SETTINGS).fetch_one(connection).await?;
        Ok(Inspection::Postgres {
            fsync: row.try_get(0)?,
            full_page_writes: row.try_get(1)?,
            is_standby: row.try_get(2)?,
        })
    }
}
