//! Malformed: the error for a message body that can't be parsed.

use crate::contract::id::RequestId;

/// A message body that can't be parsed.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Malformed {
    /// What is wrong, as a sentence for the operator.
    pub reason: String,
    /// The request's id, if it could be parsed.
    pub id: Option<RequestId>,
}

impl Malformed {
    /// A body of which not even the id could be read, or that has none.
    pub(super) fn new(reason: String) -> Self {
        Self { reason, id: None }
    }
}
