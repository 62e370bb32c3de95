//! Deferred recording: rows that the store did not take within a caller's time are tried again.
//!
//! The broker has these requests, and their callers were told to look later.

use std::{sync::Arc, time::Duration};

use pipeline::backoff::Backoff;
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use store::{NewRequest, Store, StoreError};

/// How long a row is tried. After that the request gets its row when its result arrives.
const RECORD_TIMEOUT: Duration = Duration::from_secs(60);
/// The memory that waiting rows may take, in KiB.
const MAX_WAITING_KIB: usize = 64 << 10;
/// What a row counts beside its data, in KiB. It limits the number of waiting rows to a thousand.
const ROW_OVERHEAD_KIB: usize = 64;

/// Records rows in the background.
#[derive(Clone)]
pub struct DeferredRecorder {
    store: Store,
    stop: CancellationToken,
    /// One permit for each KiB.
    memory: Arc<Semaphore>,
}

impl DeferredRecorder {
    /// A recorder that gives up all rows when `stop` is cancelled.
    pub fn new(store: Store, stop: CancellationToken) -> Self {
        Self { store, stop, memory: Arc::new(Semaphore::new(MAX_WAITING_KIB)) }
    }

    /// Has a row recorded, or drops it if too many are waiting. Returns at once. Needs a Tokio runtime.
    pub fn record(&self, row: NewRequest) {
        let (id, size) = (row.id, row.request_data.len() / 1024 + ROW_OVERHEAD_KIB);
        let size = u32::try_from(size).ok();
        let permit = size.and_then(|size| self.memory.clone().try_acquire_many_owned(size).ok());
        let Some(permit) = permit else {
            warn!(requestId = %id, "too many requests wait to be recorded");
            return;
        };
        let Self { store, stop, .. } = self.clone();
        tokio::spawn(async move {
            let in_time = timeout(RECORD_TIMEOUT, record_until_taken(&store, row));
            if let Some(Ok(())) = stop.run_until_cancelled(in_time).await {
                debug!(requestId = %id, "request recorded late");
            } else {
                warn!(requestId = %id, "request not recorded, its result will create the row");
            }
            drop(permit);
        });
    }
}

/// Tries until the store has taken the row, or has refused it.
async fn record_until_taken(store: &Store, row: NewRequest) {
    let mut backoff = Backoff::storing();
    loop {
        store.until_up().await;
        match store.accept(row.clone()).await {
            Ok(()) => return,
            Err(StoreError::Refused(reason)) => {
                return warn!(requestId = %row.id, reason, "the store refused the request");
            }
            Err(StoreError::Unavailable(_)) => sleep(backoff.next_pause()).await,
        }
    }
}
