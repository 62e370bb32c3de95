//! Shared overview: how many requests there are, read from the store once for all callers.

use std::time::{Duration, Instant};

use store::{Overview, Store};
use tokio::sync::Mutex;

/// How long the store is not asked again: however many callers there are, they cost it the same.
const OVERVIEW_INTERVAL: Duration = Duration::from_secs(2);

/// The overview of the store that all callers share.
#[derive(Debug, Default)]
pub(crate) struct SharedOverview(Mutex<Option<(Instant, Option<Overview>)>>);

impl SharedOverview {
    /// The overview; none if the store does not answer.
    pub(crate) async fn read(&self, store: &Store) -> Option<Overview> {
        let mut shared = self.0.lock().await;
        if let Some((at, overview)) = &*shared
            && at.elapsed() < OVERVIEW_INTERVAL
        {
            return overview.clone();
        }
        let overview = store.overview().await.ok();
        *shared = Some((Instant::now(), overview.clone()));
        overview
    }
}
