//! Retention: deletes expired requests from the store, in small batches.

use std::time::Duration;

use pipeline::{contract::Timestamp, log_messages::REQUESTS_EXPIRED};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use store::{Cleared, Expiry, Store, StoreError};

/// How often expired rows are looked for.
const CLEAR_INTERVAL: Duration = Duration::from_secs(60);
/// The most rows that one transaction deletes.
const BATCH_ROWS: u32 = 500;
/// The longest time for which a batch may hold up all other writes, unless one row takes longer.
const BATCH_TIME: Duration = Duration::from_millis(50);
/// The pause between two batches, so that the store is free for others at least half of the time.
const BATCH_PAUSE: Duration = Duration::from_millis(50);
/// How long the id of an expired request is kept, in multiples of the retention.
const TOMBSTONE_FACTOR: u32 = 10;
/// How long it is kept at least. A message may wait in the broker for 28 days until it expires, and its late result
/// would make the row again.
const MIN_TOMBSTONE_RETENTION: Duration = Duration::from_secs(31 * 24 * 60 * 60);

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
        let cleared = store.expire(expiry(store.clock().await?, retention)).await?;
        all.requests += cleared.requests;
        all.parked += cleared.parked;
        all.tombstones += cleared.tombstones;
        if !cleared.has_reached(BATCH_ROWS) {
            return Ok(all);
        }
        sleep(BATCH_PAUSE).await;
    }
}

/// What has expired now.
fn expiry(now: Timestamp, retention: Duration) -> Expiry {
    let tombstones = retention.saturating_mul(TOMBSTONE_FACTOR).max(MIN_TOMBSTONE_RETENTION);
    let (ended_before, tombstones_before) = (now - retention, now - tombstones);
    Expiry { ended_before, tombstones_before, limit: BATCH_ROWS, max_time: BATCH_TIME }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_an_expired_request_is_kept_for_31_days_at_least() {
        let (now, day) = (Timestamp::now(), Duration::from_secs(24 * 60 * 60));
        for (retention, tombstones) in [(day / 24, day * 31), (day * 7, day * 70)] {
            let Expiry { ended_before, tombstones_before, .. } = expiry(now, retention);
            assert_eq!((ended_before, tombstones_before), (now - retention, now - tombstones));
        }
    }
}
