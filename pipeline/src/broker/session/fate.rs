//! How a session ended: the reason, readable from any thread.

use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize};

use tokio_util::sync::CancellationToken;

/// How a session ended, known once it has.
#[derive(Clone, Default)]
pub(super) struct Fate {
    pub(super) lost: CancellationToken,
    pub(super) reason: Arc<Mutex<Option<Reason>>>,
    pub(super) closed_channels: Arc<AtomicUsize>,
    pub(super) unanswered: Arc<AtomicUsize>,
    /// Held by every channel that is open.
    pub(super) channels: Arc<()>,
}

/// Why a session ended: with the broker's reply code, if it was the broker that ended it.
#[derive(Clone)]
pub(super) struct Reason {
    pub(super) code: Option<u16>,
    pub(super) text: String,
}

impl Fate {
    pub(super) fn end(&self, code: Option<u16>, text: &str) {
        let mut reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        reason.get_or_insert_with(|| Reason { code, text: text.to_owned() });
        self.lost.cancel();
    }

    pub(super) fn reason(&self) -> Option<Reason> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
