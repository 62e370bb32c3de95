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

    /// How many open requests were accepted before this one, [`COUNT_LIMIT`] at most.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn open_before(&self, id: Uuid) -> Result<u32, StoreError> {
        let count = self.read(|reply| Read::OpenBefore(id, reply)).await?;
        Ok(count.min(COUNT_LIMIT))
    }
}
