//! Looks up requests in PostgreSQL, one by one and in lists.

use std::collections::{HashMap, HashSet};

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::{
    model::request::{End, Ended, Found, Origin, Record, RequestState, Status, Summary},
    postgres::{row, session::Work},
    sql::{self, summary, with_callbacks},
};

const GET: &str =
    concat!("SELECT ", summary!(), ", result", with_callbacks!(), "WHERE id = ANY($1)");
/// The result follows the columns of the summary.
const RESULT: usize = sql::SUMMARY_COLUMNS;
const GET_SUMMARIES: &str = concat!("SELECT ", summary!(), with_callbacks!(), "WHERE id = ANY($1)");
const ENDED: &str = "SELECT id, status, run, error_code FROM requests WHERE id = ANY($1) AND (status <> 0 OR run > 0) \
    UNION ALL SELECT id, NULL, 0, NULL FROM tombstones WHERE id = ANY($1)";
const HAS_EXPIRED: &str = "SELECT EXISTS (SELECT 1 FROM tombstones WHERE id = $1)";
const EXPIRED: &str = "SELECT id FROM tombstones WHERE id = ANY($1)";

/// What is known of several ids, in their order.
pub(super) struct Get<'a>(pub(super) &'a [Uuid]);

impl Work for Get<'_> {
    type Answer = Vec<Found>;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<Found>> {
        let rows = sqlx::query(GET).bind(self.0).fetch_all(&mut *connection).await?;
        let mut found = HashMap::new();
        for row in rows {
            let request = Record { summary: row::summary(&row)?, result: row.try_get(RESULT)? };
            found.insert(request.summary.id, request);
        }
        let missing: Vec<Uuid> =
            self.0.iter().filter(|id| !found.contains_key(id)).copied().collect();
        let expired =
            if missing.is_empty() { HashSet::new() } else { expired(connection, missing).await? };
        let found = self.0.iter().map(|id| match found.get(id) {
            Some(request) => Found::Record(Box::new(request.clone())),
            None if expired.contains(id) => Found::Expired,
            None => Found::Unknown,
        });
        Ok(found.collect())
    }
}

async fn expired(connection: &mut PgConnection, ids: Vec<Uuid>) -> sqlx::Result<HashSet<Uuid>> {
    let expired = sqlx::query_scalar(EXPIRED).bind(ids).fetch_all(connection).await?;
    Ok(expired.into_iter().collect())
}

/// Several requests without their results.
pub(super) struct GetMany(pub(super) Vec<Uuid>);

impl Work for GetMany {
    type Answer = Vec<Summary>;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<Summary>> {
        let rows = sqlx::query(GET_SUMMARIES).bind(&self.0).fetch_all(connection).await?;
        rows.iter().map(row::summary).collect()
    }
}

/// Which of several requests have ended.
pub(super) struct GetEnded(pub(super) Vec<Uuid>);

impl Work for GetEnded {
    type Answer = Vec<Ended>;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<Ended>> {
        let rows = sqlx::query(ENDED).bind(&self.0).fetch_all(connection).await?;
        let ended = rows.iter().map(|row| {
            let status = row.try_get::<Option<i16>, _>(1)?;
            let status = status.map(|status| Status::from_number(status.into()));
            let (run, code): (_, Option<String>) = (row::number(row, 2)?, row.try_get(3)?);
            let end = status.map(|status| End::new(status, run, code.as_deref()));
            Ok(Ended { id: row.try_get(0)?, end })
        });
        ended.collect()
    }
}

/// What a request was made of.
pub(super) struct GetOrigin(pub(super) Uuid);

impl Work for GetOrigin {
    type Answer = Origin;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Origin> {
        let row = sqlx::query(sql::ORIGIN).bind(self.0).fetch_optional(connection).await?;
        row.map_or(Ok(Origin::default()), |row| {
            Ok(Origin { trace: row.try_get(0)?, data: row.try_get(1)?, kind: row.try_get(2)? })
        })
    }
}

/// How many open requests of a type are below an id.
pub(super) struct CountOpenBefore(pub(super) String, pub(super) Uuid);

impl Work for CountOpenBefore {
    type Answer = u32;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<u32> {
        let count = sqlx::query(sql::OPEN_BEFORE).bind(&self.0).bind(self.1);
        row::number(&count.fetch_one(connection).await?, 0)
    }
}

/// The state of a request.
pub(super) async fn state(connection: &mut PgConnection, id: Uuid) -> sqlx::Result<RequestState> {
    let stored = sqlx::query(sql::STATE).bind(id).fetch_optional(&mut *connection).await?;
    if let Some(row) = stored {
        let (status, run) = (row::status(&row, 0)?, row::number(&row, 1)?);
        return Ok(RequestState::Stored { status, run });
    }
    let has_expired = sqlx::query_scalar(HAS_EXPIRED).bind(id).fetch_one(connection).await?;
    Ok(if has_expired { RequestState::Expired } else { RequestState::Unknown })
}
