//! Idempotency keys: claim one, release one.

use uuid::Uuid;

use crate::{
    Store,
    command::Write,
    error::StoreError,
    model::idempotency::{Claim, Claimed, IdempotencyKeyHash, ReleaseClaim},
};

impl Store {
    /// Decides which of several calls with the same idempotency key sends its request.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the same claim can be made again.
    pub async fn claim(&self, claim: Claim) -> Result<Claimed, StoreError> {
        self.write_urgent(self.options.timeout, |reply| Write::Claim(claim, reply)).await
    }

    /// Releases the claim under this key and id: its request was not accepted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: then the next call with the key has to wait for the claim's timeout.
    pub async fn release_claim(
        &self,
        key: IdempotencyKeyHash,
        id: Uuid,
        how: ReleaseClaim,
    ) -> Result<(), StoreError> {
        self.write_urgent(self.options.timeout, |reply| Write::ReleaseClaim(key, id, how, reply))
            .await
    }
}
