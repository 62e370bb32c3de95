//! What is over is cleared away, little by little.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use store::{Cleared, Expiry, Store, StoreError};

/// How often to look.
const EVERY: Duration = Duration::from_secs(60);
/// How many rows go in one transaction.
const BATCH: u32 = 500;
/// The pause between two batches, so that others have the store to themselves most of the time.
const PAUSE: Duration = Duration::from_millis(50);
/// How many times as long as results their ids are remembered.
const TOMBSTONES: u32 = 10;

/// Clears away what ended longer than `retention` ago, until told to stop.
pub async fn run(store: Store, retention: Duration, stop: CancellationToken) {
    // A short retention is looked after as often as that.
    let every = EVERY.min(retention.max(PAUSE));
    let clearing = async {
        loop {
            store.until_up().await;
            match clear(&store, retention).await {
                Ok(Cleared { requests: 0, .. }) => {}
                Ok(Cleared { requests, .. }) => info!(requests, "expired"),
                Err(error) => debug!("nothing was cleared away: {error}"),
            }
            sleep(every).await;
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
            tombstones_before: now - retention.saturating_mul(TOMBSTONES),
            at_most: BATCH,
        };
        let cleared = store.expire(expiry).await?;
        all.requests += cleared.requests;
        all.parked += cleared.parked;
        all.tombstones += cleared.tombstones;
        if !cleared.reached(BATCH) {
            return Ok(all);
        }
        sleep(PAUSE).await;
    }
}
