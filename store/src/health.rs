//! Health: whether the store can be reached, as its backend and its callers find out.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::{Notify, watch};

use crate::error::StoreError;

/// Whether the store can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// The first attempt to open it is under way.
    Opening,
    /// It answers.
    Up,
    /// It does not answer, for this reason. It is tried again all the time.
    Away(String),
}

/// One store's health: written by its backend and its queues, read by everybody.
#[derive(Debug, Clone)]
pub(crate) struct HealthMonitor {
    health: Arc<watch::Sender<Health>>,
    /// How often the store was opened: a connection made before the last opening is not used again.
    openings: Arc<AtomicU64>,
    commits: Arc<AtomicU64>,
    suspected: Arc<Notify>,
}

impl HealthMonitor {
    pub(crate) fn new() -> Self {
        let health = Arc::new(watch::Sender::new(Health::Opening));
        Self {
            health,
            openings: Arc::default(),
            commits: Arc::default(),
            suspected: Arc::default(),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    pub(crate) fn openings(&self) -> u64 {
        self.openings.load(Ordering::Acquire)
    }

    /// The store was opened.
    pub(crate) fn set_opened(&self) {
        self.openings.fetch_add(1, Ordering::AcqRel);
        if self.set(Health::Up) {
            tracing::info!("the store is open");
        }
    }

    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// A commit succeeded, so the store can be reached.
    pub(crate) fn set_committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        if self.set(Health::Up) {
            tracing::info!("the store answers again");
        }
    }

    /// No answer came in time. The backend finds out whether the store is away, or only slow.
    pub(crate) fn suspect(&self) {
        self.suspected.notify_one();
    }

    /// Waits until the store is suspected to be away.
    pub(crate) async fn until_suspected(&self) {
        self.suspected.notified().await;
    }

    /// Waits until the store is away.
    pub(crate) async fn until_away(&self) {
        self.until(|health| matches!(health, Health::Away(_))).await;
    }

    /// The store does not answer. This is logged once, until it answers again.
    pub(crate) fn set_away(&self, reason: &str) {
        let was_away = matches!(*self.health.borrow(), Health::Away(_));
        if self.set(Health::Away(reason.to_owned())) && !was_away {
            tracing::warn!(reason, "the store is unavailable");
        }
    }

    /// Waits for the first attempt to open the store; fails if the store is known to be unavailable.
    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        if *self.health.borrow() == Health::Opening {
            self.until(|health| *health != Health::Opening).await;
        }
        self.reason().map_or(Ok(()), Err)
    }

    /// Why the store is unavailable, if it is.
    pub(crate) fn reason(&self) -> Option<StoreError> {
        match &*self.health.borrow() {
            Health::Away(reason) => Some(StoreError::Unavailable(reason.clone())),
            Health::Opening | Health::Up => None,
        }
    }

    pub(crate) async fn until(&self, is: impl FnMut(&Health) -> bool) {
        // `self` holds the sender, so it can't be dropped during the wait.
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
