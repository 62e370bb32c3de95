//! Checker: finds out whether the thread that writes is only slow, or does not come back from the disk.

use std::time::Duration;

use tokio::{sync::mpsc::WeakSender, time::timeout};

use crate::{
    command::{Reply, Write},
    health::HealthMonitor,
};

/// Whenever the store is suspected to be away, waits for the answer to a ping: it comes after the statement that is
/// being executed. Ends when the queue is closed.
pub(super) async fn run(health: HealthMonitor, writes: WeakSender<Write>, limit: Duration) {
    loop {
        health.until_suspected().await;
        let Some(queue) = writes.upgrade() else { return };
        let (reply, answer) = Reply::channel();
        let sent = queue.try_send(Write::Ping(reply));
        // The thread ends when nobody can send any more.
        drop(queue);
        if sent.is_ok() && timeout(limit, answer).await.is_err() {
            health.set_away(&format!("no answer within {limit:?}"));
        }
    }
}
