//! Rows of PostgreSQL as values of the model.

use std::time::Duration;

use pipeline::{
    contract::{ErrorBody, Timestamp},
    topology::RequestType,
};
use sqlx::{Row, postgres::PgRow};

use crate::model::{
    callback::{Callback, CallbackStatus},
    open_request::OpenRequest,
    parked::ParkedMessage,
    request::{Status, Summary},
};

/// The columns of `summary!` in `sql.rs`, in their order.
pub(super) fn summary(row: &PgRow) -> sqlx::Result<Summary> {
    let message: Option<String> = row.try_get(12)?;
    let error = row.try_get::<Option<String>, _>(11)?;
    Ok(Summary {
        id: row.try_get(0)?,
        status: status(row, 1)?,
        kind: row.try_get(2)?,
        owner: row.try_get(3)?,
        run: number(row, 4)?,
        attempts: number(row, 5)?,
        deliveries: number(row, 6)?,
        accepted_at: optional_time(row, 7)?,
        started_at: optional_time(row, 8)?,
        finished_at: optional_time(row, 9)?,
        settled_at: optional_time(row, 22)?,
        worker: row.try_get(10)?,
        error: error.map(|code| ErrorBody::new(code, message.unwrap_or_default())),
        last_error: row.try_get(13)?,
        next_attempt_at: optional_time(row, 14)?,
        callback: row.try_get::<Option<_>, _>(15)?.map(|url| callback(row, url)).transpose()?,
    })
}

/// The callback of a summary. Its row is made when the request ends.
fn callback(row: &PgRow, url: String) -> sqlx::Result<Callback> {
    let state = row.try_get::<Option<i16>, _>(16)?;
    let status =
        state.map_or(CallbackStatus::Pending, |state| CallbackStatus::from_number(state.into()));
    let is_waiting = status == CallbackStatus::Pending && !row.try_get::<bool, _>(20)?;
    let attempts = row.try_get::<Option<i64>, _>(17)?.unwrap_or(0);
    Ok(Callback {
        url,
        status,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        last_error: row.try_get(18)?,
        next_attempt_at: optional_time(row, 19)?.filter(|_| is_waiting),
        delivered_at: optional_time(row, 21)?,
    })
}

pub(super) fn parked(row: &PgRow) -> sqlx::Result<ParkedMessage> {
    Ok(ParkedMessage {
        number: row.try_get(0)?,
        request: row.try_get(1)?,
        body: row.try_get(2)?,
        size: row.try_get::<i64, _>(3)?.unsigned_abs(),
        headers: row.try_get(4)?,
        reason: row.try_get(5)?,
        error: row.try_get(6)?,
        received_at: time(row, 7)?,
    })
}

pub(super) fn time(row: &PgRow, column: usize) -> sqlx::Result<Timestamp> {
    row.try_get(column).map(Timestamp::from_millis)
}

/// Milliseconds as a duration, zero if they are negative.
pub(super) fn duration(row: &PgRow, column: usize) -> sqlx::Result<Duration> {
    let millis: i64 = row.try_get(column)?;
    Ok(Duration::from_millis(u64::try_from(millis).unwrap_or_default()))
}

pub(super) fn optional_time(row: &PgRow, column: usize) -> sqlx::Result<Option<Timestamp>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_millis))
}

pub(super) fn status(row: &PgRow, column: usize) -> sqlx::Result<Status> {
    Ok(Status::from_number(row.try_get::<i16, _>(column)?.into()))
}

/// The columns of the open requests in `sql/list.rs`, in their order.
pub(super) fn open_request(row: &PgRow) -> sqlx::Result<OpenRequest> {
    Ok(OpenRequest {
        id: row.try_get(0)?,
        run: number(row, 1)?,
        attempts: number(row, 2)?,
        accepted_at: optional_time(row, 3)?,
        next_attempt_at: optional_time(row, 4)?,
        request_type: request_type(row, 5)?,
    })
}

/// The type of a request. The column has only what was once accepted.
pub(super) fn request_type(row: &PgRow, column: usize) -> sqlx::Result<RequestType> {
    Ok(row.try_get::<&str, _>(column)?.parse().unwrap_or_default())
}

pub(super) fn number(row: &PgRow, column: usize) -> sqlx::Result<u32> {
    Ok(u32::try_from(row.try_get::<i64, _>(column)?).unwrap_or(u32::MAX))
}
