//! Supervisor: finds out whether the server can be reached, and sets the store's health.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pipeline::backoff::Backoff;
use tokio::time::sleep;

use crate::{
    health::HealthMonitor,
    postgres::{error::ErrorKind, server::Server},
};

/// The pause after a failed attempt to open the store.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// The first and the longest pause after a failed migration: while it waits for a lock, all other web services may wait for it.
const MIGRATION_PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// Opens the store, and again whenever it has become unavailable. A server that can be opened, and yet
/// takes no writes, is tried less and less often.
pub(super) async fn run(server: Arc<Server>, health: HealthMonitor) {
    let mut backoff = Backoff::storing();
    let mut migration_backoff = Backoff::new(MIGRATION_PAUSES.0, MIGRATION_PAUSES.1);
    loop {
        let pause = match server.prepare().await {
            Ok(()) => {
                health.set_opened();
                let opened = Instant::now();
                if until_away(&server, &health).await == Reason::NoAnswer {
                    // It can't be opened before it answers.
                    backoff.reset();
                }
                backoff.next_pause_after(opened.elapsed())
            }
            Err(error) => {
                health.set_away(&server.explain(&error));
                match error.kind {
                    ErrorKind::Migration => migration_backoff.next_pause(),
                    _ => RETRY_INTERVAL,
                }
            }
        };
        sleep(pause).await;
    }
}

/// Why the store is away.
#[derive(PartialEq, Eq)]
enum Reason {
    /// Work failed.
    Failure,
    /// A ping failed.
    NoAnswer,
}

/// Waits until the store is away. When it is suspected to be, a ping decides: a server that is only slow answers.
async fn until_away(server: &Server, health: &HealthMonitor) -> Reason {
    loop {
        tokio::select! {
            () = health.until_away() => return Reason::Failure,
            () = health.until_suspected() => {
                if let Err(error) = server.ping().await {
                    health.set_away(&server.explain(&error));
                    return Reason::NoAnswer;
                }
            }
        }
    }
}
