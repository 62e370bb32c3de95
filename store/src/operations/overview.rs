//! The overview of all requests.

use crate::{Store, command::Read, error::StoreError, model::overview::Overview};

impl Store {
    /// How many requests are open, wait for a retry or have failed, and how many came and ended lately. It costs the same
    /// however many there are.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn overview(&self) -> Result<Overview, StoreError> {
        self.read(Read::Overview).await
    }
}
