//! Errors of the store.

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store can't be reached, or did not answer in time. The operation may have been done all the
    /// same; every operation can be repeated without harm.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The database refuses these data, and will refuse them again.
    #[error("the store refuses these data: {0}")]
    Refused(String),
}

/// The `DATABASE_URL` names no store. The message never shows a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadUrl(pub(crate) String);
