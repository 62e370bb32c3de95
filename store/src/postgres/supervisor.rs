//! Finds out whether the server is there, and says so.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pipeline::backoff::Backoff;
use tokio::time::sleep;

use super::{server::Server, trouble::Trouble};
use crate::{Health, health::Monitor};

/// The pause after a failed attempt to open the store.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// Opens the store, and again whenever somebody found it away. A server that seems to be there, and
/// yet takes no writes, is tried less and less often.
pub(super) async fn run(server: Arc<Server>, health: Monitor) {
    let mut backoff = Backoff::storing();
    loop {
        let pause = match server.prepare().await {
            Ok(()) => {
                health.opened();
                let opened = Instant::now();
                health.until(|health| matches!(health, Health::Away(_))).await;
                backoff.next_pause_after(opened.elapsed())
            }
            Err(
                Trouble::Data(reason)
                | Trouble::Conflict(reason)
                | Trouble::Lost(reason)
                | Trouble::Silence(reason),
            ) => {
                health.away(&server.explain(&reason));
                RETRY_INTERVAL
            }
        };
        sleep(pause).await;
    }
}
