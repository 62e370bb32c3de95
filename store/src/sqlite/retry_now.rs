//! Begins the attempts that requests wait for at once, in SQLite.

use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

use crate::{
    model::retry_now::{AwaitedAttempt, BeginRetry, NoteRetry},
    sql::{BEGIN_RETRY, NOTE_RETRY},
    sqlite::{lookups, transaction::WriteTransaction},
};

pub(super) fn note(
    tx: &WriteTransaction<'_>,
    id: Uuid,
    awaited: AwaitedAttempt,
) -> rusqlite::Result<NoteRetry> {
    let mut note = tx.prepare_cached(NOTE_RETRY)?;
    let values = params![id.as_bytes(), awaited.run, awaited.attempts];
    match note.query_row(values, |row| row.get(0)).optional()? {
        Some(run) => Ok(NoteRetry::Noted(run)),
        None => lookups::state(tx, id).map(NoteRetry::refused),
    }
}

pub(super) fn begin(tx: &WriteTransaction<'_>, id: Uuid, run: u32) -> rusqlite::Result<BeginRetry> {
    if tx.prepare_cached(BEGIN_RETRY)?.exists(params![run, id.as_bytes()])? {
        return Ok(BeginRetry::Done);
    }
    Ok(BeginRetry::refused(run, lookups::state(tx, id)?))
}
