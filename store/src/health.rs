//! Whether the store is there.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::watch;

use super::error::StoreError;

/// How the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// The first attempt to open it is under way.
    Opening,
    /// It answers.
    Up,
    /// It does not, for this reason. It is tried again all the time.
    Away(String),
}

/// One store's health: told by those who work on it, read by everybody.
#[derive(Debug, Clone)]
pub(super) struct Monitor {
    health: Arc<watch::Sender<Health>>,
    /// How often it was opened: a connection of an earlier time is not to be trusted.
    openings: Arc<AtomicU64>,
    commits: Arc<AtomicU64>,
}

impl Monitor {
    pub(super) fn new() -> Self {
        let health = Arc::new(watch::Sender::new(Health::Opening));
        Self { health, openings: Arc::default(), commits: Arc::default() }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    pub(super) fn openings(&self) -> u64 {
        self.openings.load(Ordering::Acquire)
    }

    /// It was opened anew.
    pub(super) fn opened(&self) {
        self.openings.fetch_add(1, Ordering::AcqRel);
        if self.set(Health::Up) {
            tracing::info!("the store is open");
        }
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// It committed something, so it can't be away.
    pub(super) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        if self.set(Health::Up) {
            tracing::info!("the store answers again");
        }
    }

    /// It does not answer. Told once, however often it is said.
    pub(super) fn away(&self, reason: &str) {
        let was_away = matches!(*self.health.borrow(), Health::Away(_));
        if self.set(Health::Away(reason.to_owned())) && !was_away {
            tracing::warn!(reason, "the store is unavailable");
        }
    }

    /// Waits until it has been tried to open it, and fails at once while it is known to be away.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        if *self.health.borrow() == Health::Opening {
            self.until(|health| *health != Health::Opening).await;
        }
        self.reason().map_or(Ok(()), Err)
    }

    /// Why it is away, if it is.
    pub(super) fn reason(&self) -> Option<StoreError> {
        match &*self.health.borrow() {
            Health::Away(reason) => Some(StoreError::Unavailable(reason.clone())),
            Health::Opening | Health::Up => None,
        }
    }

    pub(super) async fn until(&self, is: impl FnMut(&Health) -> bool) {
        // The sender is a part of `self`, so the wait can't end by its going.
        let _ = self.subscribe().wait_for(is).await;
    }

    fn set(&self, new: Health) -> bool {
        self.health.send_if_modified(|health| {
            let changed = *health != new;
            *health = new;
            changed
        })
    }
}
