//! Finds out whether the server is there, and says so.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{server::Server, trouble::Trouble};
use crate::store::{Health, health::Monitor};

/// How long to wait before the server is tried again.
const PAUSE: Duration = Duration::from_millis(250);

/// Opens the store, and again whenever somebody found it away.
pub(super) async fn run(server: Arc<Server>, health: Monitor) {
    loop {
        match server.prepare().await {
            Ok(()) => {
                health.opened();
                health.until(|health| matches!(health, Health::Away(_))).await;
            }
            Err(Trouble::Data(reason) | Trouble::Lost(reason) | Trouble::Silence(reason)) => {
                health.away(&server.explain(&reason));
            }
        }
        sleep(PAUSE).await;
    }
}
