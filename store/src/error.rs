//! What can go wrong with the store.

/// Why the store did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached, or did not answer in time. What was asked for may have been done all
    /// the same; every operation bears repeating.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// It is there, but can't take these very data, now or later.
    #[error("the store refuses these data: {0}")]
    Refused(String),
}

/// A `DATABASE_URL` that names no store. The message never shows a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadUrl(pub(super) String);
