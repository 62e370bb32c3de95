//! Store availability: whether requests can be recorded now, and why not.

use pipeline::{broker::LockState, health::Part};
use tokio::sync::watch;

use store::{Health, Store};

/// Tells whether the store can be used.
pub struct StoreAvailability {
    store: Store,
    lock: Option<watch::Receiver<LockState>>,
}

impl StoreAvailability {
    /// The availability of `store`. With a `lock`, it counts as available only to the holder of the
    /// lock: an SQLite file belongs to one web service.
    pub fn new(store: Store, lock: Option<watch::Receiver<LockState>>) -> Self {
        Self { store, lock }
    }

    /// The store as a part of the service's readiness.
    pub fn check(&self) -> Part {
        match &*self.store.health().borrow() {
            Health::Up => self.check_lock(),
            Health::Opening => Part::missing("it is being opened"),
            Health::Away(reason) => Part::missing(reason.clone()),
        }
    }

    fn check_lock(&self) -> Part {
        match self.lock.as_ref().map(|lock| lock.borrow().clone()) {
            None | Some(LockState::Held) => Part::ok("it answers"),
            Some(LockState::NotAllowed(reason)) => Part::ok(format!(
                "it answers; whether another web service uses SQLite on this virtual host can't be seen ({reason})"
            )),
            Some(LockState::Waiting(reason)) => Part::missing(format!(
                "whether this is the only web service with SQLite on the virtual host is not known: {reason}"
            )),
            Some(LockState::Taken) => Part::missing(
                "only one web service at a time can use SQLite on a virtual host, and another one does; \
                 for several, set DATABASE_URL=postgres://...",
            ),
        }
    }
}
