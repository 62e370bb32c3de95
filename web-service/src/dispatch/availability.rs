//! Store availability: whether requests can be recorded now, and why not.

use pipeline::{broker::LockState, health::Part, log_messages::WAITING_FOR_SQLITE};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use store::{Health, Store};

/// Tells whether the store can be used.
pub struct StoreAvailability {
    store: Store,
    lock: Option<watch::Receiver<LockState>>,
}

/// Why no request can be recorded now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unavailable {
    /// The store can't be used.
    Store(String),
    /// The broker is away, so nothing can be published, and whether the SQLite file may be used is not known.
    Broker(String),
}

impl StoreAvailability {
    /// The availability of `store`. With a `lock`, it counts as available only to the holder of the
    /// lock: an SQLite file belongs to one web service.
    pub fn new(store: Store, lock: Option<watch::Receiver<LockState>>) -> Self {
        Self { store, lock }
    }

    /// Whether requests can be recorded.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), Unavailable> {
        match &*self.store.health().borrow() {
            Health::Up => {}
            Health::Opening => return Err(Unavailable::Store("it is being opened".to_owned())),
            Health::Away(reason) => return Err(Unavailable::Store(reason.clone())),
        }
        match self.lock() {
            None | Some(LockState::Held | LockState::NotAllowed(_)) => Ok(()),
            Some(LockState::Away(reason)) => Err(Unavailable::Broker(reason)),
            Some(LockState::Waiting(reason)) => Err(Unavailable::Store(format!(
                "whether this is the only web service with SQLite on the virtual host is not known: {reason}"
            ))),
            Some(LockState::Taken) => Err(Unavailable::Store(WAITING_FOR_SQLITE.to_owned())),
        }
    }

    /// The store as a part of the service's readiness.
    pub fn part(&self) -> Part {
        match (self.check(), self.lock()) {
            (Ok(()), Some(LockState::NotAllowed(reason))) => Part::ok(format!(
                "it answers; whether another web service uses SQLite on this virtual host can't be seen ({reason})"
            )),
            (Ok(()), _) => Part::ok("it answers"),
            (Err(Unavailable::Store(reason)), _) => Part::missing(reason),
            (Err(Unavailable::Broker(reason)), _) => Part::missing(format!(
                "it answers, and is used once the broker tells that no other web service uses SQLite there: {reason}"
            )),
        }
    }

    fn lock(&self) -> Option<LockState> {
        self.lock.as_ref().map(|lock| lock.borrow().clone())
    }
}

/// Warns each time that another web service turns out to use SQLite on the virtual host, until told to stop.
pub async fn warn_of_others(lock: Option<watch::Receiver<LockState>>, stop: CancellationToken) {
    let warning = async {
        let Some(mut lock) = lock else { return };
        while lock.wait_for(|state| *state == LockState::Taken).await.is_ok() {
            warn!("{WAITING_FOR_SQLITE}");
            // It is lost and taken again with each connection: that is no news.
            let _held_or_ended = lock.wait_for(|state| *state == LockState::Held).await.is_ok();
        }
    };
    let _warned_or_stopped = stop.run_until_cancelled(warning).await;
    stop.cancelled().await;
}
