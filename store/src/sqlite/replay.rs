//! Replays and discards failed requests in SQLite.

use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

use crate::{
    model::{
        replay::{Discard, Replay},
        request::Status,
    },
    sql::{discard, note_replay, replay},
    sqlite::{callbacks, groups, lookups, retention, transaction::WriteTransaction},
};

const DELETE_PARKED: &str = "DELETE FROM parked WHERE request_id = $1";

pub(super) fn note(tx: &WriteTransaction<'_>, id: Uuid, run: u32) -> rusqlite::Result<Replay> {
    if tx.prepare_cached(note_replay!())?.exists(params![id.as_bytes(), run])? {
        return Ok(Replay::Done);
    }
    Ok(Replay::refused(run, lookups::state(tx, id)?))
}

pub(super) fn replay(tx: &WriteTransaction<'_>, id: Uuid, run: u32) -> rusqlite::Result<Replay> {
    let mut replay = tx.prepare_cached(replay!())?;
    let kind = replay.query_row(params![id.as_bytes(), run], |row| row.get::<_, String>(1));
    if let Some(kind) = kind.optional()? {
        tx.tally.turn(&kind, Some(Status::Failed), Some(Status::Queued));
        tx.execute(callbacks::DELETE, [id.as_bytes()])?;
        groups::leave(tx, id)?;
        return Ok(Replay::Done);
    }
    Ok(Replay::refused(run, lookups::state(tx, id)?))
}

pub(super) fn discard(tx: &WriteTransaction<'_>, id: Uuid) -> rusqlite::Result<Discard> {
    let mut discard = tx.prepare_cached(discard!())?;
    let kind = discard.query_row([id.as_bytes()], |row| row.get::<_, String>(1));
    if let Some(kind) = kind.optional()? {
        tx.tally.turn(&kind, Some(Status::Failed), None);
        tx.execute(DELETE_PARKED, [id.as_bytes()])?;
        retention::leave_tombstone(tx, id.as_bytes())?;
        return Ok(Discard::Done);
    }
    lookups::state(tx, id).map(Discard::refused)
}
