//! Message limit: the length of the longest message that the broker takes, known once it has refused a longer one.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The limit of one connection, in bytes of the body. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct MessageLimit(Arc<AtomicUsize>);

impl Default for MessageLimit {
    /// Not known yet.
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(usize::MAX)))
    }
}

impl MessageLimit {
    /// Remembers the limit.
    pub(crate) fn set(&self, max_bytes: usize) {
        self.0.store(max_bytes, Ordering::Relaxed);
    }

    /// The limit, if a body of this length exceeds it.
    pub(crate) fn exceeded_by(&self, bytes: usize) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)).filter(|max_bytes| bytes > *max_bytes)
    }
}
