//! Why nothing can be found out about missing messages.

use pipeline::broker::{AskError, NotConnected};
use store::StoreError;

/// Why nothing can be found out.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The broker is away.
    #[error(transparent)]
    BrokerAway(#[from] NotConnected),
    /// The broker does not tell what a queue holds.
    #[error("the broker does not tell what a queue holds: {0}")]
    NotCounted(#[from] AskError),
    /// The store is away.
    #[error(transparent)]
    StoreAway(#[from] StoreError),
}
