//! Reading.

use std::collections::{HashMap, HashSet};

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::{line::Work, row};
use crate::{
    Ended, Found, List, Origin, Page, ParkedFilter, ParkedMessage, ParkedQuery, Record, Status,
    Summary,
    sql::{self, summary, with_callbacks},
};

/// The result follows the columns of the summary.
const RESULT: usize = sql::SUMMARY;

const GET: &str =
    concat!("SELECT ", summary!(), ", result", with_callbacks!(), "WHERE id = ANY($1)");
const GET_SUMMARIES: &str = concat!("SELECT ", summary!(), with_callbacks!(), "WHERE id = ANY($1)");
const ENDED: &str = "SELECT id, status, run FROM requests WHERE id = ANY($1) AND status <> 0 \
    UNION ALL SELECT id, NULL, 0 FROM tombstones WHERE id = ANY($1)";
const BURIED: &str = "SELECT id FROM tombstones WHERE id = ANY($1)";

/// What is known under several ids, in their order.
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
        let buried =
            if missing.is_empty() { HashSet::new() } else { buried(connection, missing).await? };
        let found = self.0.iter().map(|id| match found.get(id) {
            Some(request) => Found::Record(Box::new(request.clone())),
            None if buried.contains(id) => Found::Expired,
            None => Found::Unknown,
        });
        Ok(found.collect())
    }
}

async fn buried(connection: &mut PgConnection, ids: Vec<Uuid>) -> sqlx::Result<HashSet<Uuid>> {
    let buried = sqlx::query_scalar(BURIED).bind(ids).fetch_all(connection).await?;
    Ok(buried.into_iter().collect())
}

/// How far several requests have come.
pub(super) struct GetMany(pub(super) Vec<Uuid>);

impl Work for GetMany {
    type Answer = Vec<Summary>;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<Summary>> {
        let rows = sqlx::query(GET_SUMMARIES).bind(&self.0).fetch_all(connection).await?;
        rows.iter().map(row::summary).collect()
    }
}

/// Which of several requests have ended.
pub(super) struct LookForEnded(pub(super) Vec<Uuid>);

impl Work for LookForEnded {
    type Answer = Vec<Ended>;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<Ended>> {
        let rows = sqlx::query(ENDED).bind(&self.0).fetch_all(connection).await?;
        let ended = rows.iter().map(|row| {
            let status = row.try_get::<Option<i16>, _>(1)?;
            let status = status.map(|status| Status::from_number(status.into()));
            let run = row::number(row, 2)?;
            Ok(Ended { id: row.try_get(0)?, how: status.map(|status| (status, run)) })
        });
        ended.collect()
    }
}

/// What a request was made of.
pub(super) struct LookForOrigin(pub(super) Uuid);

impl Work for LookForOrigin {
    type Answer = Origin;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Origin> {
        let row = sqlx::query(sql::ORIGIN).bind(self.0).fetch_optional(connection).await?;
        row.map_or(Ok(Origin::default()), |row| {
            Ok(Origin { trace: row.try_get(0)?, data: row.try_get(1)? })
        })
    }
}

impl Work for List {
    type Answer = Page;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Page> {
        let mut query = sqlx::query(sql::list(self)).bind(self.below());
        if let Some(kind) = &self.kind {
            query = query.bind(kind);
        }
        if let Some(status) = self.status {
            query = query.bind(status.number());
        }
        let rows = query.bind(self.rows()).fetch_all(connection).await?;
        Ok(self.page(rows.iter().map(row::summary).collect::<Result<_, _>>()?))
    }
}

impl Work for ParkedQuery {
    type Answer = Vec<ParkedMessage>;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<ParkedMessage>> {
        let mut query = sqlx::query(sql::letters(self)).bind(self.before());
        if let ParkedFilter::Request(id) = self.whose {
            query = query.bind(id);
        }
        query = query.bind(i64::from(self.limit));
        query.fetch_all(connection).await?.iter().map(row::parked).collect()
    }
}

/// A message with its whole body.
pub(super) struct GetParked(pub(super) i64);

impl Work for GetParked {
    type Answer = Option<ParkedMessage>;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Option<ParkedMessage>> {
        let row = sqlx::query(sql::PARKED_MESSAGE).bind(self.0).fetch_optional(connection).await?;
        row.as_ref().map(row::parked).transpose()
    }
}
