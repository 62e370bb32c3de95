//! Error groups: list them, look one up.

use crate::{
    Store,
    command::Read,
    error::StoreError,
    model::error_group::{ErrorGroup, GroupId},
};

impl Store {
    /// Error groups, so many at most, the one that was seen last first: all, or only those in which requests are failed
    /// now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn error_groups(
        &self,
        only_failed: bool,
        limit: u32,
    ) -> Result<Vec<ErrorGroup>, StoreError> {
        self.read(|reply| Read::ListGroups(only_failed, limit, reply)).await
    }

    /// An error group.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn error_group(&self, id: GroupId) -> Result<Option<ErrorGroup>, StoreError> {
        self.read(|reply| Read::GetGroup(id, reply)).await
    }
}
