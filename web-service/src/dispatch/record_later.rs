//! Rows of requests that the broker has and the store was too late for: their callers were told to
//! look later, so they are recorded as soon as that can be.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use pipeline::backoff::Backoff;
use store::{NewRequest, Store, StoreError};

/// For how long it is tried.
const LIMIT: Duration = Duration::from_secs(60);
/// How many KiB may wait. What comes beyond gets its row from its result.
const ROOM: usize = 64 << 10;
/// What a row takes beside its data, in KiB; so there are a thousand at most.
const EACH: usize = 64;

/// Records late rows.
#[derive(Clone)]
pub struct Late {
    store: Store,
    /// When to stop.
    stop: CancellationToken,
    room: Arc<Semaphore>,
}

impl Late {
    /// Nothing is late yet.
    pub fn new(store: Store, stop: CancellationToken) -> Self {
        Self { store, stop, room: Arc::new(Semaphore::new(ROOM)) }
    }

    /// Has a row recorded, or passes it over if too many wait. Returns at once. Needs a Tokio
    /// runtime.
    pub fn record(&self, row: NewRequest) {
        let (id, size) = (row.id, row.request_data.len() / 1024 + EACH);
        let room = u32::try_from(size).ok();
        let room = room.and_then(|size| self.room.clone().try_acquire_many_owned(size).ok());
        let Some(room) = room else {
            warn!(requestId = %id, "too many requests wait to be recorded");
            return;
        };
        let Self { store, stop, .. } = self.clone();
        tokio::spawn(async move {
            let in_time = timeout(LIMIT, recorded(&store, row));
            if let Some(Ok(())) = stop.run_until_cancelled(in_time).await {
                debug!(requestId = %id, "recorded late");
            } else {
                warn!(requestId = %id, "not recorded; its result will be");
            }
            drop(room);
        });
    }
}

/// Tries until the store has taken the row, or never will.
async fn recorded(store: &Store, row: NewRequest) {
    let mut backoff = Backoff::storing();
    loop {
        store.until_up().await;
        match store.accept(row.clone()).await {
            Ok(()) => return,
            Err(StoreError::Refused(reason)) => {
                return warn!(requestId = %row.id, reason, "can't be recorded");
            }
            Err(StoreError::Unavailable(_)) => sleep(backoff.next_pause()).await,
        }
    }
}
