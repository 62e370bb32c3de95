//! Requests that have not ended: publish their next attempt again, as a run of its own.

use uuid::Uuid;

use crate::{
    Store,
    command::Write,
    error::StoreError,
    model::retry_now::{AwaitedAttempt, BeginRetry, NoteRetry, Reissue},
};

impl Store {
    /// Notes that the attempt a request waits for is about to be published, as a run that no other call gets.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may be noted all the same, and can be noted again.
    pub async fn note_retry(
        &self,
        id: Uuid,
        awaited: AwaitedAttempt,
        reissue: Reissue,
    ) -> Result<NoteRetry, StoreError> {
        self.write_for_client(|reply| Write::NoteRetry(id, awaited, reissue, reply)).await
    }

    /// Begins the run that was noted and published. The attempts that were made go on counting.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may be recorded all the same.
    pub async fn begin_retry(
        &self,
        id: Uuid,
        run: u32,
        reissue: Reissue,
    ) -> Result<BeginRetry, StoreError> {
        self.write_for_client(|reply| Write::BeginRetry(id, run, reissue, reply)).await
    }
}
