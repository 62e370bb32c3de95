//! Progress of a confirm channel: since when confirms are missing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Since when confirms are missing, readable from any thread.
#[derive(Clone)]
pub(super) struct Progress {
    epoch: Instant,
    oldest: Moment,
    silent: Moment,
    confirmed: Moment,
}

/// Milliseconds since an epoch, plus one; zero is none.
type Moment = Arc<AtomicU64>;

impl Progress {
    /// Nothing is sent yet.
    pub(super) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            oldest: Arc::default(),
            silent: Arc::default(),
            confirmed: Arc::default(),
        }
    }

    /// Notes when the oldest unconfirmed message was sent, and when the last confirm came.
    pub(super) fn set(&self, oldest: Option<Instant>, last_confirm: Option<Instant>) {
        let millis = |at: Instant| at.duration_since(self.epoch).as_millis() as u64 + 1;
        self.oldest.store(oldest.map_or(0, millis), Ordering::Relaxed);
        let silent = oldest.map(|oldest| last_confirm.map_or(oldest, |last| last.max(oldest)));
        self.silent.store(silent.map_or(0, millis), Ordering::Relaxed);
        self.confirmed.store(last_confirm.map_or(0, millis), Ordering::Relaxed);
    }

    /// How long the oldest unconfirmed message has waited.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.age(&self.oldest)
    }

    /// For how long the broker has confirmed nothing, although something is unconfirmed.
    pub(super) fn silent_for(&self) -> Option<Duration> {
        self.age(&self.silent)
    }

    /// How long ago the broker has confirmed something, if it ever has.
    pub(super) fn confirmed_ago(&self) -> Option<Duration> {
        self.age(&self.confirmed)
    }

    fn age(&self, moment: &Moment) -> Option<Duration> {
        let since = moment.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.epoch.elapsed().saturating_sub(Duration::from_millis(since)))
    }
}
