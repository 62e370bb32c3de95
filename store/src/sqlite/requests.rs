//! Records and cancels requests in SQLite.

use rusqlite::{OptionalExtension, Row, params};
use uuid::Uuid;

use crate::{
    error::StoreError,
    model::request::{Cancel, NewRequest, Status},
    sql::{accept_rule, cancel},
    sqlite::{
        callbacks, lookups,
        stats::Happened,
        transaction::{RowRefused, WriteTransaction},
    },
};

/// An upsert of a request, but for its rule of what to do with a row that is there.
macro_rules! accept {
    ($rule:expr) => {
        concat!(
            "INSERT INTO requests (id, type, owner, accepted_at, trace, callback_url, callback_host, \
             request_data) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            $rule
        )
    };
}

/// Nearly every request has no row yet. What returns rows makes a table for them, which takes as long as all the rest; and
/// what inserts the rows of a `SELECT` keeps the pages as they were, in case that a later row fails.
const ACCEPT: &str = accept!(" ON CONFLICT (id) DO NOTHING");
const COMPLETE: &str = accept!(concat!(accept_rule!(), " RETURNING status, run"));
/// The type of a request of which only the result is known.
pub(super) const UNKNOWN_TYPE: &str = "default";

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
    if lookups::has_expired(tx, new.id)? {
        return Ok(Ok(()));
    }
    match tx.try_execute(ACCEPT, values)? {
        Ok(1) => count(tx, new, Status::Queued, 0),
        Ok(_) => {
            let state = |row: &Row<'_>| Ok((Status::from_number(row.get(0)?), row.get(1)?));
            match tx.try_change(COMPLETE, values, state)? {
                Ok(accepted) => {
                    accepted.into_iter().for_each(|(status, run)| count(tx, new, status, run))
                }
                Err(RowRefused(reason)) => return Ok(Err(StoreError::Refused(reason))),
            }
        }
        Err(RowRefused(reason)) => return Ok(Err(StoreError::Refused(reason))),
    }
    if target.is_some() {
        tx.execute(callbacks::OF_ENDED, [new.id.as_bytes()])?;
    }
    Ok(Ok(()))
}

/// Counts a request that was accepted. If there was a row, which only a result makes, its type was not known.
fn count(tx: &WriteTransaction<'_>, new: &NewRequest, status: Status, run: u32) {
    tx.tally.count(&new.kind, Happened::Accepted);
    tx.tally.turn(&new.kind, None, Some(status));
    if status != Status::Queued || run > 0 {
        tx.tally.turn(UNKNOWN_TYPE, Some(status), None);
    }
}

pub(super) fn cancel(tx: &WriteTransaction<'_>, id: Uuid) -> rusqlite::Result<Cancel> {
    let mut cancel = tx.prepare_cached(cancel!())?;
    let cancelled = cancel.query_row(params![tx.now.as_millis(), id.as_bytes()], |row| {
        Ok((row.get(1)?, row.get::<_, String>(4)?))
    });
    if let Some((run, kind)) = cancelled.optional()? {
        tx.tally.count(&kind, Happened::Ended(Status::Cancelled));
        tx.tally.turn(&kind, Some(Status::Queued), Some(Status::Cancelled));
        tx.execute(callbacks::OF_ENDING, [id.as_bytes()])?;
        return Ok(Cancel::Done(run));
    }
    lookups::state(tx, id).map(Cancel::refused)
}
