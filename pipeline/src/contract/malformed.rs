//! A message body that can't be read.

use crate::contract::id::RequestId;

/// A message body that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Malformed {
    /// What is wrong, as a sentence for the operator.
    pub reason: String,
    /// The id, where it could be read all the same, so that its owner can be told.
    pub id: Option<RequestId>,
}

impl Malformed {
    /// A body of which not even the id could be read, or that has none.
    pub(super) fn new(reason: String) -> Self {
        Self { reason, id: None }
    }
}
