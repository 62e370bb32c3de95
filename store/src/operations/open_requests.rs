//! Requests that have not ended, in the order of their ids.

use uuid::Uuid;

use crate::{
    Store,
    command::Read,
    error::StoreError,
    model::{open_request::OpenRequest, overview::COUNT_LIMIT},
};

impl Store {
    /// The open requests with the lowest ids above `after`, `limit` at most.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn open_requests(
        &self,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<OpenRequest>, StoreError> {
        self.read(|reply| Read::Open(after, limit, reply)).await
    }

    /// How many open requests of this type were accepted before this one, [`COUNT_LIMIT`] at most.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn open_before(&self, kind: &str, id: Uuid) -> Result<u32, StoreError> {
        let kind = kind.replace('\0', "\u{fffd}");
        let count = self.read(|reply| Read::OpenBefore(kind, id, reply)).await?;
        Ok(count.min(COUNT_LIMIT))
    }
}
