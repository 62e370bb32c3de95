//! Retention and upkeep: delete what has expired, tell the time, check for life, look at the database.

use pipeline::contract::Timestamp;

use crate::{
    Store,
    command::{Read, Write},
    error::StoreError,
    model::{
        inspection::Inspection,
        retention::{Cleared, Expiry},
    },
};

impl Store {
    /// Deletes a small batch of what has expired: requests that ended long ago leave a tombstone. To be
    /// called again while [`Cleared::has_reached`] the limit. The last batch also deletes error groups.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn expire(&self, expiry: Expiry) -> Result<Cleared, StoreError> {
        self.write_in_background(0, |reply| Write::Expire(expiry, reply)).await
    }

    /// The present moment, by the clock by which requests end and expire. It is the same for all web
    /// services on this store.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn clock(&self) -> Result<Timestamp, StoreError> {
        self.read(Read::Clock).await
    }

    /// The settings of the database that can lose what was committed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn inspect(&self) -> Result<Inspection, StoreError> {
        self.read(Read::Inspect).await
    }

    /// Checks whether the store takes writes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] with the reason.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.write_urgent(self.options.timeout, Write::Ping).await
    }
}
