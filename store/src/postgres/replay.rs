//! Replays and discards failed requests in PostgreSQL.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    model::replay::{Discard, Replay},
    postgres::{clock::now, lookups::state, session::Work, stats::statuses_tallied},
    sql::{discard, note_replay, replay},
};

const REPLAY: &str = concat!(
    "WITH again AS (",
    replay!(),
    "), uncalled AS (DELETE FROM callbacks WHERE request_id IN (SELECT id FROM again)), \
     unfailed AS (DELETE FROM failures WHERE failed_id IN (SELECT id FROM again)), ",
    statuses_tallied!("SELECT type, 0, 1 FROM again UNION ALL SELECT type, 2, -1 FROM again"),
    " SELECT id FROM again"
);
const DISCARD: &str = concat!(
    "WITH gone AS (",
    discard!(),
    "), uncalled AS (DELETE FROM callbacks WHERE request_id IN (SELECT id FROM gone)), \
     unfailed AS (DELETE FROM failures WHERE failed_id IN (SELECT id FROM gone)), \
     untried AS (DELETE FROM attempts WHERE request_id IN (SELECT id FROM gone)), \
     unparked AS (DELETE FROM parked WHERE request_id IN (SELECT id FROM gone)), \
     buried AS (INSERT INTO tombstones SELECT id, ",
    now!(),
    " FROM gone ON CONFLICT (id) DO NOTHING), ",
    statuses_tallied!("SELECT type, 2, -1 FROM gone"),
    " SELECT id FROM gone"
);

/// Notes that a request which has failed in this run is about to be replayed.
pub(super) struct NoteReplay {
    pub(super) id: Uuid,
    pub(super) run: u32,
}

impl Work for NoteReplay {
    type Answer = Replay;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Replay> {
        let note = sqlx::query(note_replay!()).bind(self.id).bind(i64::from(self.run));
        if note.fetch_optional(&mut *connection).await?.is_some() {
            return Ok(Replay::Done);
        }
        Ok(Replay::refused(self.run, state(connection, self.id).await?))
    }
}

/// Replays a request that has failed in this run.
pub(super) struct ReplayOne {
    pub(super) id: Uuid,
    pub(super) run: u32,
}

impl Work for ReplayOne {
    type Answer = Replay;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Replay> {
        let replay = sqlx::query(REPLAY).bind(self.id).bind(i64::from(self.run));
        if replay.fetch_optional(&mut *connection).await?.is_some() {
            return Ok(Replay::Done);
        }
        Ok(Replay::refused(self.run, state(connection, self.id).await?))
    }
}

/// Discards a failed request.
pub(super) struct DiscardOne(pub(super) Uuid);

impl Work for DiscardOne {
    type Answer = Discard;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Discard> {
        let discard = sqlx::query(DISCARD).bind(self.0);
        if discard.fetch_optional(&mut *connection).await?.is_some() {
            return Ok(Discard::Done);
        }
        state(connection, self.0).await.map(Discard::refused)
    }
}
