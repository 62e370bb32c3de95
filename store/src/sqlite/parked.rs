//! Parks, lists and deletes messages of the failed queue in SQLite.

use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    model::{
        parked::{DeleteParked, NewParked, ParkedFilter, ParkedMessage, ParkedQuery},
        worker_result::Applied,
    },
    sql,
    sqlite::{
        results, row,
        transaction::{RowRefused, WriteTransaction},
    },
};

const PARK: &str = "INSERT INTO parked (key, request_id, reason, error, received_at, headers, body) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (key) DO NOTHING";
const UNDO_PARK: &str = "DELETE FROM parked WHERE key = $1";

/// Keeps a message, and applies the result that it means for its request.
pub(super) fn park(tx: &WriteTransaction<'_>, new: &NewParked) -> rusqlite::Result<Applied> {
    let (key, request) = (new.digest(), new.result.as_ref().map(|result| result.id.into_bytes()));
    let received_at = tx.now.as_millis();
    let values = params![key, request, new.reason, new.error, received_at, new.headers, new.body];
    let is_new = match tx.try_execute(PARK, values)? {
        Ok(rows) => rows > 0,
        Err(RowRefused(reason)) => return Ok(Applied::BadRow(reason)),
    };
    let Some(result) = &new.result else {
        return Ok(if is_new { Applied::Stored } else { Applied::Duplicate });
    };
    let applied = results::apply(tx, result)?;
    if is_new && matches!(applied, Applied::BadRow(_)) {
        tx.execute(UNDO_PARK, params![key])?;
    }
    Ok(applied)
}

pub(super) fn delete(tx: &WriteTransaction<'_>, number: i64) -> rusqlite::Result<DeleteParked> {
    if tx.execute(sql::DELETE_PARKED, [number])? > 0 {
        return Ok(DeleteParked::Done);
    }
    let mut request = tx.prepare_cached(sql::PARKED_REQUEST)?;
    let request = request.query_row([number], |row| row::id(row, 0)).optional()?;
    Ok(request.map_or(DeleteParked::Unknown, DeleteParked::BelongsTo))
}

pub(super) fn list(
    connection: &Connection,
    query: &ParkedQuery,
) -> rusqlite::Result<Vec<ParkedMessage>> {
    let (before, limit) = (query.before(), query.limit);
    let mut statement = connection.prepare_cached(sql::list_parked(query))?;
    let rows = match query.filter {
        ParkedFilter::WithoutRequest => statement.query_map(params![before, limit], row::parked)?,
        ParkedFilter::OfRequest(id) => {
            statement.query_map(params![before, id.as_bytes(), limit], row::parked)?
        }
    };
    rows.collect()
}

/// A message with its whole body.
pub(super) fn get(connection: &Connection, number: i64) -> rusqlite::Result<Option<ParkedMessage>> {
    let mut statement = connection.prepare_cached(sql::GET_PARKED)?;
    statement.query_row([number], row::parked).optional()
}
