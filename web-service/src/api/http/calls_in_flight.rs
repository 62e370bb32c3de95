//! Counts the calls that are being answered.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// How many calls are being answered. Clones share the number.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallsInFlight(Arc<AtomicUsize>);

/// Counts a call until it is dropped.
pub(crate) struct Call(Arc<AtomicUsize>);

impl CallsInFlight {
    /// Counts a call as long as the returned value is kept.
    pub(crate) fn begin(&self) -> Call {
        self.0.fetch_add(1, Ordering::Relaxed);
        Call(self.0.clone())
    }

    /// How many calls are being answered now.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
