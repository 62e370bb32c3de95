//! Retention: deletes expired requests from the store, in small batches.

use std::time::Duration;

use pipeline::{
    contract::Timestamp,
    log_messages::{REQUESTS_EXPIRED, REQUESTS_NOT_EXPIRED},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use store::{Cleared, Expiry, Health, Store, StoreError};

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
    let mut failures = Failures::default();
    let clearing = async {
        loop {
            store.until_up().await;
            let cleared = clear(&store, retention).await;
            let is_news = failures.is_news(cleared.is_err(), &store.health().borrow());
            match cleared {
                Ok(Cleared { requests: 0, .. }) => {}
                Ok(Cleared { requests, .. }) => info!(requests, "{REQUESTS_EXPIRED}"),
                Err(error) if is_news => warn!(%error, "{REQUESTS_NOT_EXPIRED}"),
                Err(error) => debug!(%error, "{REQUESTS_NOT_EXPIRED}"),
            }
            sleep(interval).await;
        }
    };
    tokio::select! {
        () = clearing => {}
        () = stop.cancelled() => {}
    }
}

/// Sweeps that fail, minute after minute, are told of once.
#[derive(Default)]
struct Failures {
    are_told: bool,
}

impl Failures {
    /// Whether to warn that a sweep has failed. That the store is away is told already, and most writes fail then. One that is
    /// up, and whose sweeps fail, for instance since they take too long, looks healthy until its disk is full.
    fn is_news(&mut self, has_failed: bool, health: &Health) -> bool {
        if !has_failed {
            self.are_told = false;
            return false;
        }
        let is_news = *health == Health::Up && !self.are_told;
        self.are_told |= is_news;
        is_news
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
    fn sweeps_that_fail_while_the_store_is_up_are_told_of_once_until_one_succeeds() {
        let mut failures = Failures::default();
        let away = Health::Away("it is gone".to_owned());
        assert!(!failures.is_news(true, &away));
        assert!(failures.is_news(true, &Health::Up));
        assert!(!failures.is_news(true, &away));
        assert!(!failures.is_news(true, &Health::Up));
        assert!(!failures.is_news(false, &Health::Up));
        assert!(failures.is_news(true, &Health::Up));
    }

    #[test]
    fn the_id_of_an_expired_request_is_kept_for_31_days_at_least() {
        let (now, day) = (Timestamp::now(), Duration::from_secs(24 * 60 * 60));
        for (retention, tombstones) in [(day / 24, day * 31), (day * 7, day * 70)] {
            let Expiry { ended_before, tombstones_before, .. } = expiry(now, retention);
            assert_eq!((ended_before, tombstones_before), (now - retention, now - tombstones));
        }
    }
}
