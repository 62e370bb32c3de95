//! Supervisor: finds out whether the server can be reached, and sets the store's health.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pipeline::backoff::Backoff;
use tokio::time::sleep;

use crate::{
    health::{Health, HealthMonitor},
    postgres::server::Server,
};

/// The pause after a failed attempt to open the store.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// Opens the store, and again whenever it has become unavailable. A server that can be opened, and yet
/// takes no writes, is tried less and less often.
pub(super) async fn run(server: Arc<Server>, health: HealthMonitor) {
    let mut backoff = Backoff::storing();
    loop {
        let pause = match server.prepare().await {
            Ok(()) => {
                health.set_opened();
                let opened = Instant::now();
                health.until(|health| matches!(health, Health::Away(_))).await;
                backoff.next_pause_after(opened.elapsed())
            }
            Err(error) => {
                health.set_away(&server.explain(&error));
                RETRY_INTERVAL
            }
        };
        sleep(pause).await;
    }
}
