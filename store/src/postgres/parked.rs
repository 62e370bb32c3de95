//! Parks, lists and deletes messages of the failed queue in PostgreSQL.

use std::collections::HashSet;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::{
    model::{
        parked::{DeleteParked, NewParked, ParkedFilter, ParkedMessage, ParkedQuery},
        worker_result::Applied,
    },
    postgres::{batch::Rows, clock::now, results, row, session::Work},
    sql,
};

const PARK: &str = concat!(
    "INSERT INTO parked (key, request_id, reason, error, headers, body, received_at) SELECT new.*, ",
    now!(),
    " FROM UNNEST($1::bytea[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bytea[]) \
     AS new (key) ORDER BY new.key ON CONFLICT (key) DO NOTHING RETURNING key"
);

impl Rows for NewParked {
    type Outcome = Applied;

    fn key(&self) -> Uuid {
        let half_of_digest = || Uuid::from_slice(&self.digest()[..16]).unwrap_or_default();
        self.result.as_ref().map_or_else(half_of_digest, |result| result.id)
    }

    fn bytes(&self) -> usize {
        self.body.len() + self.headers.len() + 200
    }

    async fn write(connection: &mut PgConnection, rows: &[Self]) -> sqlx::Result<Vec<Applied>> {
        let mut transaction = connection.begin().await?;
        let new = insert(&mut transaction, rows).await?;
        let results: Vec<_> = rows.iter().filter_map(|row| row.result.as_ref()).collect();
        let applied = match results.is_empty() {
            true => Vec::new(),
            false => results::apply(&mut transaction, &results).await?,
        };
        transaction.commit().await?;
        let mut applied = applied.into_iter();
        let outcomes = rows.iter().map(|row| match &row.result {
            Some(_) => applied.next().unwrap_or(Applied::Superseded),
            None if new.contains(row.digest().as_slice()) => Applied::Stored,
            None => Applied::Duplicate,
        });
        Ok(outcomes.collect())
    }

    fn refused(reason: String) -> Applied {
        Applied::BadRow(reason)
    }
}

/// Stores messages, and returns the digests of those that were not stored yet.
async fn insert(
    connection: &mut PgConnection,
    rows: &[NewParked],
) -> sqlx::Result<HashSet<Vec<u8>>> {
    let digests: Vec<[u8; 32]> = rows.iter().map(NewParked::digest).collect();
    let requests: Vec<Option<Uuid>> =
        rows.iter().map(|row| Some(row.result.as_ref()?.id)).collect();
    let reasons: Vec<&str> = rows.iter().map(|row| row.reason.as_str()).collect();
    let errors: Vec<&str> = rows.iter().map(|row| row.error.as_str()).collect();
    let headers: Vec<&str> = rows.iter().map(|row| row.headers.as_str()).collect();
    let bodies: Vec<&[u8]> = rows.iter().map(|row| row.body.as_slice()).collect();
    let query = sqlx::query_scalar(PARK).bind(digests).bind(requests).bind(reasons).bind(errors);
    let new = query.bind(headers).bind(bodies).fetch_all(connection).await?;
    Ok(new.into_iter().collect())
}

/// Deletes a parked message that belongs to no request.
pub(super) struct DeleteOne(pub(super) i64);

impl Work for DeleteOne {
    type Answer = DeleteParked;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<DeleteParked> {
        let delete = sqlx::query(sql::DELETE_PARKED).bind(self.0).execute(&mut *connection).await?;
        if delete.rows_affected() > 0 {
            return Ok(DeleteParked::Done);
        }
        let request = sqlx::query_scalar::<_, Option<Uuid>>(sql::PARKED_REQUEST).bind(self.0);
        let request = request.fetch_optional(connection).await?.flatten();
        Ok(request.map_or(DeleteParked::Unknown, DeleteParked::BelongsTo))
    }
}

impl Work for ParkedQuery {
    type Answer = Vec<ParkedMessage>;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<ParkedMessage>> {
        let mut query = sqlx::query(sql::list_parked(self)).bind(self.before());
        if let ParkedFilter::OfRequest(id) = self.filter {
            query = query.bind(id);
        }
        query = query.bind(i64::from(self.limit));
        query.fetch_all(connection).await?.iter().map(row::parked).collect()
    }
}

/// A parked message with its whole body.
pub(super) struct GetParked(pub(super) i64);

impl Work for GetParked {
    type Answer = Option<ParkedMessage>;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Option<ParkedMessage>> {
        let row = sqlx::query(sql::GET_PARKED).bind(self.0).fetch_optional(connection).await?;
        row.as_ref().map(row::parked).transpose()
    }
}
