//! Records and cancels requests in SQLite.

use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

use crate::{
    error::StoreError,
    model::request::{Cancel, NewRequest},
    sql::{accept_rule, cancel},
    sqlite::{
        callbacks, lookups,
        transaction::{RowRefused, WriteTransaction},
    },
};

const ACCEPT: &str = concat!(
    "INSERT INTO requests (id, type, owner, accepted_at, trace, callback_url, callback_host, \
     request_data) SELECT $1, $2, $3, $4, $5, $6, $7, $8 \
     WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE id = $1)",
    accept_rule!()
);

pub(super) fn accept(
    tx: &WriteTransaction<'_>,
    new: &NewRequest,
) -> rusqlite::Result<Result<(), StoreError>> {
    let target = new.callback.as_ref();
    let values = params![
        new.id.as_bytes(),
        new.kind,
        new.owner,
        new.accepted_at.as_millis(),
        new.trace,
        target.map(|target| &target.url),
        target.map(|target| &target.host),
        new.request_data
    ];
    if let Err(RowRefused(reason)) = tx.try_execute(ACCEPT, values)? {
        return Ok(Err(StoreError::Refused(reason)));
    }
    if target.is_some() {
        tx.execute(callbacks::OF_ENDED, [new.id.as_bytes()])?;
    }
    Ok(Ok(()))
}

pub(super) fn cancel(tx: &WriteTransaction<'_>, id: Uuid) -> rusqlite::Result<Cancel> {
    let mut cancel = tx.prepare_cached(cancel!())?;
    let run = cancel.query_row(params![tx.now.as_millis(), id.as_bytes()], |row| row.get(1));
    if let Some(run) = run.optional()? {
        tx.execute(callbacks::OF_ENDING, [id.as_bytes()])?;
        return Ok(Cancel::Done(run));
    }
    lookups::state(tx, id).map(Cancel::refused)
}
