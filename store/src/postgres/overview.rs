//! The overview of all requests in PostgreSQL.

use sqlx::{PgConnection, Row, postgres::PgRow};

use crate::{
    model::{
        id_time::made_at,
        overview::{Lately, OldestRequest, Overview, OverviewTimes, limited},
    },
    postgres::{
        clock::Clock,
        row::{number, optional_time},
        session::Work,
    },
    sql,
};

/// Counts the requests.
pub(super) struct GetOverview;

impl Work for GetOverview {
    type Answer = Overview;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Overview> {
        let times = OverviewTimes { now: Clock.run(&mut *connection).await? };
        let oldest = sqlx::query(sql::OLDEST).fetch_optional(&mut *connection).await?;
        let oldest = oldest.as_ref().map(oldest_request).transpose()?;
        let [after, until] = times.accepted_between();
        let query = sqlx::query(sql::OVERVIEW).bind(times.now.as_millis());
        let query = query.bind(times.ended_after().as_millis()).bind(after).bind(until);
        let row = query.fetch_one(connection).await?;
        let ended = Lately { count: number(&row, 3)?, earliest: optional_time(&row, 4)? };
        let earliest = row.try_get::<Option<_>, _>(6)?.map(made_at);
        let accepted = Lately { count: number(&row, 5)?, earliest };
        Ok(Overview {
            open: limited(row.try_get(0)?),
            failed: limited(row.try_get(1)?),
            retrying: number(&row, 2)?,
            oldest,
            accepted_per_second: accepted.per_second(times.now),
            ended_per_second: ended.per_second(times.now),
        })
    }
}

fn oldest_request(row: &PgRow) -> sqlx::Result<OldestRequest> {
    Ok(OldestRequest { id: row.try_get(0)?, accepted_at: optional_time(row, 1)? })
}
