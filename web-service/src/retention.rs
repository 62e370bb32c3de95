//! Retention: deletes expired requests from the store, in small batches.

use std::time::Duration;

use pipeline::log_messages::REQUESTS_EXPIRED;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use store::{Cleared, Expiry, Store, StoreError};

/// How often expired rows are looked for.
const CLEAR_INTERVAL: Duration = Duration::from_secs(60);
/// The most rows that one transaction deletes.
const BATCH_ROWS: u32 = 500;
/// The pause between two batches, so that the store is free for others most of the time.
const BATCH_PAUSE: Duration = Duration::from_millis(50);
/// How long the id of an expired request is kept, in multiples of the retention.
const TOMBSTONE_FACTOR: u32 = 10;

/// Deletes requests that ended longer than `retention` ago, until told to stop.
pub async fn run(store: Store, retention: Duration, stop: CancellationToken) {
    // A retention shorter than the interval is the interval.
    let interval = CLEAR_INTERVAL.min(retention.max(BATCH_PAUSE));
    let clearing = async {
        loop {
            store.until_up().await;
            match clear(&store, retention).await {
                Ok(Cleared { requests: 0, .. }) => {}
                Ok(Cleared { requests, .. }) => info!(requests, "{REQUESTS_EXPIRED}"),
                Err(error) => debug!("expired requests not deleted: {error}"),
            }
            sleep(interval).await;
        }
    };
    tokio::select! {
        () = clearing => {}
        () = stop.cancelled() => {}
    }
}

async fn clear(store: &Store, retention: Duration) -> Result<Cleared, StoreError> {
    let mut all = Cleared::default();
    loop {
        let now = store.clock().await?;
        let expiry = Expiry {
            ended_before: now - retention,
            tombstones_before: now - retention.saturating_mul(TOMBSTONE_FACTOR),
            limit: BATCH_ROWS,
        };
        let cleared = store.expire(expiry).await?;
        all.requests += cleared.requests;
        all.parked += cleared.parked;
        all.tombstones += cleared.tombstones;
        if !cleared.has_reached(BATCH_ROWS) {
            return Ok(all);
        }
        sleep(BATCH_PAUSE).await;
    }
}
