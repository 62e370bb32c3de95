//! Finds out whether the server is there, and says so.

use std::{sync::Arc, time::Instant};

use tokio::time::sleep;

use super::{server::Server, trouble::Trouble};
use crate::{
    pauses::{self, Pauses},
    store::{Health, health::Monitor},
};

/// Opens the store, and again whenever somebody found it away. A server that seems to be there, and
/// yet takes no writes, is tried less and less often.
pub(super) async fn run(server: Arc<Server>, health: Monitor) {
    let mut pauses = Pauses::default();
    loop {
        let pause = match server.prepare().await {
            Ok(()) => {
                health.opened();
                let opened = Instant::now();
                health.until(|health| matches!(health, Health::Away(_))).await;
                pauses.after(opened.elapsed())
            }
            Err(
                Trouble::Data(reason)
                | Trouble::Conflict(reason)
                | Trouble::Lost(reason)
                | Trouble::Silence(reason),
            ) => {
                health.away(&server.explain(&reason));
                pauses::SHORTEST
            }
        };
        sleep(pause).await;
    }
}
