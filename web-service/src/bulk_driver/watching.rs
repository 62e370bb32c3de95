//! Watching: how many runs only wait for the end of what they have replayed.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Counts the runs that watch.
#[derive(Debug, Clone, Default)]
pub(super) struct Watching(Arc<AtomicUsize>);

/// A run that watches, as long as this is there.
#[derive(Debug)]
pub(super) struct Watch(Watching);

impl Watching {
    pub(super) fn begin(&self) -> Watch {
        self.0.fetch_add(1, Ordering::Relaxed);
        Watch(self.clone())
    }

    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
