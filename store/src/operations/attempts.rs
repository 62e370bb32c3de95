//! Attempts at a request.

use uuid::Uuid;

use crate::{
    Store,
    command::Read,
    error::StoreError,
    model::attempt::{FoundAttempts, MAX_ATTEMPTS_TOLD, of_request},
};

impl Store {
    /// The attempts at a request that are over. Of those that failed and were followed by another one, events tell, which
    /// may be lost.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn attempts(&self, id: Uuid) -> Result<FoundAttempts, StoreError> {
        // The request first: an attempt that fails in between is told, and the request is shown as it was before.
        let Some(summary) = self.get_many(vec![id]).await?.pop() else {
            let has_expired = self.ended(vec![id]).await?.iter().any(|ended| ended.end.is_none());
            return Ok(if has_expired { FoundAttempts::Expired } else { FoundAttempts::Unknown });
        };
        let rows = u32::try_from(MAX_ATTEMPTS_TOLD + 1).unwrap_or(u32::MAX);
        let failed = self.read(|reply| Read::FailedAttempts(id, rows, reply)).await?;
        Ok(of_request(summary, failed))
    }
}
