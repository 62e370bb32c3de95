//! Checker: finds out whether the thread that writes is only slow, or does not come back from the disk.

use std::time::Duration;

use tokio::{
    sync::mpsc::{Sender, WeakSender},
    time::timeout,
};

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
        if timeout(limit, ping(queue)).await.is_err() {
            health.set_away(&format!("no answer within {limit:?}"));
        }
    }
}

/// Waits for a place in the queue, and for the answer. The thread ends when nobody can send any more, so the queue is
/// let go as soon as it has the ping; one that is full is not at its end yet.
async fn ping(queue: Sender<Write>) {
    let (reply, answer) = Reply::channel();
    if queue.send(Write::Ping(reply)).await.is_ok() {
        drop(queue);
        // A reply that is dropped is an answer, too: the thread has then set the health itself.
        let _ = answer.await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{self, Receiver};

    use super::*;
    use crate::health::Health;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A suspected store with a checker, and its queue, which is full.
    fn suspected(limit: Duration) -> (HealthMonitor, Sender<Write>, Receiver<Write>) {
        let health = HealthMonitor::new();
        health.set_opened();
        let (writes, commands) = mpsc::channel(1);
        writes.try_send(Write::Ping(Reply::channel().0)).ok().unwrap();
        tokio::spawn(run(health.clone(), writes.downgrade(), limit));
        health.suspect();
        (health, writes, commands)
    }

    #[tokio::test]
    async fn a_store_that_takes_nothing_from_a_full_queue_is_away() {
        let (health, _writes, _commands) = suspected(Duration::from_millis(50));
        timeout(MINUTE, health.until_away()).await.expect("it is noticed");
    }

    #[tokio::test]
    async fn a_store_that_answers_from_a_full_queue_is_not_away_and_can_be_closed() {
        let (health, writes, mut commands) = suspected(MINUTE);
        drop(commands.recv().await);
        let Some(Write::Ping(reply)) = commands.recv().await else { panic!("no ping") };
        drop(writes);
        assert!(commands.recv().await.is_none(), "the queue is still held");
        reply.send(Ok(()));
        assert_eq!(*health.subscribe().borrow(), Health::Up);
    }
}
