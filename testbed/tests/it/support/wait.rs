//! Waits for states that no program reports: empty queues, and whatever a test can look up.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testbed::{foreign::Foreign, process::WAIT_TIMEOUT};

use crate::support::stack::{REQUESTS, RESULTS};

/// How long to wait before looking again.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Waits until no request and no result waits with the broker.
pub(crate) async fn drained(foreign: &Foreign) -> Result<()> {
    for queue in [REQUESTS, RESULTS] {
        loop {
            let messages = foreign.depth(queue).await?.messages;
            if messages == 0 {
                break;
            }
            // However long it takes in all, as long as it becomes less.
            holds(foreign, queue, |now| now < messages).await?;
        }
    }
    Ok(())
}

/// Waits until the number of messages that wait in a queue is such.
pub(crate) async fn holds(foreign: &Foreign, queue: &str, is: impl Fn(u32) -> bool) -> Result<()> {
    settles(queue, async || Ok(is(foreign.depth(queue).await?.messages))).await
}

/// Looks again and again, within [`WAIT_TIMEOUT`], until `is` gives true. `what` is for the error message.
pub(crate) async fn settles(what: &str, mut is: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let limit = Instant::now() + WAIT_TIMEOUT;
    while !is().await? {
        ensure!(Instant::now() < limit, "still not as it should be: {what}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(())
}
