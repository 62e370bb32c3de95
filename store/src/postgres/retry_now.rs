//! Notes and begins runs in which open requests are published again, in PostgreSQL.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    model::retry_now::{AwaitedAttempt, BeginRetry, NoteRetry, Reissue},
    postgres::{lookups::state, row::number, session::Work},
    sql,
};

/// Notes that an attempt at a request is about to be published.
pub(super) struct NoteOneRetry {
    pub(super) id: Uuid,
    pub(super) awaited: AwaitedAttempt,
    pub(super) reissue: Reissue,
}

impl Work for NoteOneRetry {
    type Answer = NoteRetry;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<NoteRetry> {
        let AwaitedAttempt { run, attempts } = self.awaited;
        let note = sqlx::query(sql::note_retry(self.reissue)).bind(self.id).bind(i64::from(run));
        let noted = note.bind(i64::from(attempts)).fetch_optional(&mut *connection).await?;
        match noted {
            Some(row) => Ok(NoteRetry::Noted(number(&row, 0)?)),
            None => state(connection, self.id).await.map(NoteRetry::refused),
        }
    }
}

/// Begins a run that was noted.
pub(super) struct BeginOneRetry {
    pub(super) id: Uuid,
    pub(super) run: u32,
    pub(super) reissue: Reissue,
}

impl Work for BeginOneRetry {
    type Answer = BeginRetry;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<BeginRetry> {
        let begin =
            sqlx::query(sql::begin_retry(self.reissue)).bind(i64::from(self.run)).bind(self.id);
        if begin.fetch_optional(&mut *connection).await?.is_some() {
            return Ok(BeginRetry::Done);
        }
        Ok(BeginRetry::refused(self.run, state(connection, self.id).await?))
    }
}
