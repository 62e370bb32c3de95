//! Failed requests: replay or discard one.

use uuid::Uuid;

use crate::{
    Store,
    command::Write,
    error::StoreError,
    model::replay::{Discard, Replay},
};

impl Store {
    /// Notes that the next run of a request that has failed in this one is about to be published. From then
    /// on a result that does not name its run is taken to be of that run.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may be noted all the same, and can be noted again.
    pub async fn note_replay(&self, id: Uuid, run: u32) -> Result<Replay, StoreError> {
        self.write_for_client(|reply| Write::NoteReplay(id, run, reply)).await
    }

    /// Begins the next run of a request that has failed in this one. Its error becomes the last error, and
    /// its callback will report the end of the next run.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may be recorded all the same, and can be recorded again.
    pub async fn replay(&self, id: Uuid, run: u32) -> Result<Replay, StoreError> {
        self.write_for_client(|reply| Write::Replay(id, run, reply)).await
    }

    /// Lets a failed request expire at once, and deletes its parked messages.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may be discarded all the same.
    pub async fn discard(&self, id: Uuid) -> Result<Discard, StoreError> {
        self.write_for_client(|reply| Write::Discard(id, reply)).await
    }
}
