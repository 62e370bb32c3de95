//! Rows of SQLite as values of the model.

use std::time::Duration;

use pipeline::{
    contract::{ErrorBody, Timestamp},
    topology::RequestType,
};
use rusqlite::Row;
use uuid::Uuid;

use crate::model::{
    callback::{Callback, CallbackStatus},
    open_request::OpenRequest,
    parked::ParkedMessage,
    request::{Status, Summary},
};

/// The columns of `summary!` in `sql.rs`, in their order.
pub(super) fn summary(row: &Row<'_>) -> rusqlite::Result<Summary> {
    let message: Option<String> = row.get(12)?;
    let error = row.get::<_, Option<String>>(11)?;
    Ok(Summary {
        id: id(row, 0)?,
        status: Status::from_number(row.get(1)?),
        kind: row.get(2)?,
        owner: row.get(3)?,
        run: row.get(4)?,
        attempts: row.get(5)?,
        deliveries: row.get(6)?,
        accepted_at: optional_time(row, 7)?,
        started_at: optional_time(row, 8)?,
        finished_at: optional_time(row, 9)?,
        settled_at: optional_time(row, 22)?,
        worker: row.get(10)?,
        error: error.map(|code| ErrorBody::new(code, message.unwrap_or_default())),
        last_error: row.get(13)?,
        next_attempt_at: optional_time(row, 14)?,
        callback: row.get::<_, Option<_>>(15)?.map(|url| callback(row, url)).transpose()?,
    })
}

/// The callback of a summary. Its row is made when the request ends.
fn callback(row: &Row<'_>, url: String) -> rusqlite::Result<Callback> {
    let status =
        row.get::<_, Option<_>>(16)?.map_or(CallbackStatus::Pending, CallbackStatus::from_number);
    let is_waiting = status == CallbackStatus::Pending && !row.get::<_, bool>(20)?;
    Ok(Callback {
        url,
        status,
        attempts: row.get::<_, Option<_>>(17)?.unwrap_or(0),
        last_error: row.get(18)?,
        next_attempt_at: optional_time(row, 19)?.filter(|_| is_waiting),
        delivered_at: optional_time(row, 21)?,
    })
}

pub(super) fn parked(row: &Row<'_>) -> rusqlite::Result<ParkedMessage> {
    Ok(ParkedMessage {
        number: row.get(0)?,
        request: row.get::<_, Option<_>>(1)?.map(Uuid::from_bytes),
        body: row.get(2)?,
        size: row.get::<_, i64>(3)?.unsigned_abs(),
        headers: row.get(4)?,
        reason: row.get(5)?,
        error: row.get(6)?,
        received_at: time(row, 7)?,
    })
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

/// Milliseconds as a duration, zero if they are negative.
pub(super) fn duration(row: &Row<'_>, column: usize) -> rusqlite::Result<Duration> {
    let millis: i64 = row.get(column)?;
    Ok(Duration::from_millis(u64::try_from(millis).unwrap_or_default()))
}

pub(super) fn optional_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

/// The columns of the open requests in `sql/list.rs`, in their order.
pub(super) fn open_request(row: &Row<'_>) -> rusqlite::Result<OpenRequest> {
    Ok(OpenRequest {
        id: id(row, 0)?,
        run: row.get(1)?,
        attempts: row.get(2)?,
        accepted_at: optional_time(row, 3)?,
        next_attempt_at: optional_time(row, 4)?,
        request_type: request_type(row, 5)?,
    })
}

/// The type of a request. The column has only what was once accepted.
pub(super) fn request_type(row: &Row<'_>, column: usize) -> rusqlite::Result<RequestType> {
    Ok(row.get_ref(column)?.as_str()?.parse().unwrap_or_default())
}

pub(super) fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    row.get(column).map(Uuid::from_bytes)
}
