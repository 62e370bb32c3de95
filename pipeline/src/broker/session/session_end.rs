//! Session end: whether and why a session ended, and counters that can end it; shared by all threads.

use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize};

use tokio_util::sync::CancellationToken;

/// The end of a session, and the counters that can cause it. Clones share them.
#[derive(Clone, Default)]
pub(super) struct SessionEnd {
    pub(super) lost: CancellationToken,
    pub(super) reason: Arc<Mutex<Option<Reason>>>,
    pub(super) closed_channels: Arc<AtomicUsize>,
    pub(super) unanswered: Arc<AtomicUsize>,
    /// Each open channel has a clone: the number of clones is the number of open channels.
    pub(super) channels: Arc<()>,
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

    pub(super) fn reason(&self) -> Option<Reason> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
