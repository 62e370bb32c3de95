//! Begins the attempts that requests wait for at once, in PostgreSQL.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    model::retry_now::{AwaitedAttempt, BeginRetry, NoteRetry},
    postgres::{lookups::state, row::number, session::Work},
    sql::{BEGIN_RETRY, NOTE_RETRY},
};

/// Notes that the attempt a request waits for is about to be published.
pub(super) struct NoteOneRetry {
    pub(super) id: Uuid,
    pub(super) awaited: AwaitedAttempt,
}

impl Work for NoteOneRetry {
    type Answer = NoteRetry;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<NoteRetry> {
        let AwaitedAttempt { run, attempts } = self.awaited;
        let note = sqlx::query(NOTE_RETRY).bind(self.id).bind(i64::from(run));
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
}

impl Work for BeginOneRetry {
    type Answer = BeginRetry;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<BeginRetry> {
        let begin = sqlx::query(BEGIN_RETRY).bind(i64::from(self.run)).bind(self.id);
        if begin.fetch_optional(&mut *connection).await?.is_some() {
            return Ok(BeginRetry::Done);
        }
        Ok(BeginRetry::refused(self.run, state(connection, self.id).await?))
    }
}
