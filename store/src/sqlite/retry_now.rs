//! Notes and begins runs in which open requests are published again, in SQLite.

use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

use crate::{
    model::retry_now::{AwaitedAttempt, BeginRetry, NoteRetry, Reissue},
    sql,
    sqlite::{lookups, transaction::WriteTransaction},
};

pub(super) fn note(
    tx: &WriteTransaction<'_>,
    id: Uuid,
    awaited: AwaitedAttempt,
    reissue: Reissue,
) -> rusqlite::Result<NoteRetry> {
    let mut note = tx.prepare_cached(sql::note_retry(reissue))?;
    let values = params![id.as_bytes(), awaited.run, awaited.attempts];
    match note.query_row(values, |row| row.get(0)).optional()? {
        Some(run) => Ok(NoteRetry::Noted(run)),
        None => lookups::state(tx, id).map(NoteRetry::refused),
    }
}

pub(super) fn begin(
    tx: &WriteTransaction<'_>,
    id: Uuid,
    run: u32,
    reissue: Reissue,
) -> rusqlite::Result<BeginRetry> {
    if tx.prepare_cached(sql::begin_retry(reissue))?.exists(params![run, id.as_bytes()])? {
        return Ok(BeginRetry::Done);
    }
    Ok(BeginRetry::refused(run, lookups::state(tx, id)?))
}
