//! Session end: whether and why a session ended, and counters that can end it; shared by all threads.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use tokio_util::sync::CancellationToken;

/// The end of a session, and the counters that can cause it. Clones share them.
#[derive(Clone, Default)]
pub(super) struct SessionEnd {
    pub(super) lost: CancellationToken,
    pub(super) reason: Arc<Mutex<Option<Reason>>>,
    pub(super) closed_channels: Arc<AtomicUsize>,
    pub(super) unanswered: Arc<AtomicUsize>,
    /// How many channels are open.
    pub(super) open_channels: Arc<AtomicUsize>,
}

/// Counts a channel among those that are open, until it is dropped.
pub(super) struct CountedChannel(Arc<AtomicUsize>);

impl CountedChannel {
    pub(super) fn new(end: &SessionEnd) -> Self {
        end.open_channels.fetch_add(1, Ordering::Relaxed);
        Self(end.open_channels.clone())
    }
}

impl Drop for CountedChannel {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a session ended, with the broker's reply code if the broker closed the connection.
#[derive(Clone)]
pub(super) struct Reason {
    pub(super) code: Option<u16>,
    pub(super) text: String,
}

impl SessionEnd {
    pub(super) fn end(&self, code: Option<u16>, text: &str) {
        let mut reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        reason.get_or_insert_with(|| Reason { code, text: text.to_owned() });
        self.lost.cancel();
    }

    /// How many channels the broker has closed.
    pub(super) fn closed_by_broker(&self) -> usize {
        self.closed_channels.load(Ordering::Relaxed)
    }

    /// How many channel numbers are in use: the client never frees those of channels that the broker closed.
    pub(super) fn used_channels(&self) -> usize {
        self.open_channels.load(Ordering::Relaxed) + self.closed_by_broker()
    }

    pub(super) fn reason(&self) -> Option<Reason> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
