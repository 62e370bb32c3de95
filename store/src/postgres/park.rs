//! Keeping messages that were handed to the failed queue.

use std::collections::HashSet;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{batch::Rows, finish};
use crate::{Applied, Parked};

const PARK: &str = "INSERT INTO parked \
    (key, request_id, reason, error, received_at, headers, body) \
    SELECT * FROM UNNEST($1::bytea[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], \
    $6::text[], $7::bytea[]) AS new (key) ORDER BY new.key ON CONFLICT (key) DO NOTHING \
    RETURNING key";

impl Rows for Parked {
    type Outcome = Applied;

    fn key(&self) -> Uuid {
        let of_message = || Uuid::from_slice(&Self::key(self)[..16]).unwrap_or_default();
        self.ends.as_ref().map_or_else(of_message, |ends| ends.id)
    }

    fn size(&self) -> usize {
        self.body.len() + self.headers.len() + 200
    }

    async fn write(connection: &mut PgConnection, rows: &[Self]) -> sqlx::Result<Vec<Applied>> {
        let mut transaction = connection.begin().await?;
        let kept = keep(&mut transaction, rows).await?;
        let ends: Vec<_> = rows.iter().filter_map(|row| row.ends.as_ref()).collect();
        let applied = match ends.is_empty() {
            true => Vec::new(),
            false => finish::write(&mut transaction, &ends).await?,
        };
        transaction.commit().await?;
        let mut applied = applied.into_iter();
        let outcomes = rows.iter().map(|row| match &row.ends {
            Some(_) => applied.next().unwrap_or(Applied::Superseded),
            None if kept.contains(Self::key(row).as_slice()) => Applied::Stored,
            None => Applied::Duplicate,
        });
        Ok(outcomes.collect())
    }

    fn refused(reason: String) -> Applied {
        Applied::BadRow(reason)
    }
}

/// Gives the keys of those that were not there yet.
async fn keep(connection: &mut PgConnection, rows: &[Parked]) -> sqlx::Result<HashSet<Vec<u8>>> {
    let keys: Vec<[u8; 32]> = rows.iter().map(Parked::key).collect();
    let requests: Vec<Option<Uuid>> = rows.iter().map(|row| Some(row.ends.as_ref()?.id)).collect();
    let reasons: Vec<&str> = rows.iter().map(|row| row.reason.as_str()).collect();
    let errors: Vec<&str> = rows.iter().map(|row| row.error.as_str()).collect();
    let received: Vec<i64> = rows.iter().map(|row| row.received_at.as_millis()).collect();
    let headers: Vec<&str> = rows.iter().map(|row| row.headers.as_str()).collect();
    let bodies: Vec<&[u8]> = rows.iter().map(|row| row.body.as_slice()).collect();
    let query = sqlx::query_scalar(PARK).bind(keys).bind(requests).bind(reasons).bind(errors);
    let kept = query.bind(received).bind(headers).bind(bodies).fetch_all(connection).await?;
    Ok(kept.into_iter().collect())
}
