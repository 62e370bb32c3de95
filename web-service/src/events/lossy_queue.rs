//! Lossy queue: a bounded queue between the event listener and a task that handles items in batches.
//!
//! The listener must not wait, so what finds the queue full is dropped. All that is passed on in this way
//! is best effort.

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;

/// The most items that wait in a queue.
const MAX_WAITING: usize = 1000;
/// The most items in a batch.
const MAX_BATCH: usize = 500;

/// The sending end.
#[derive(Debug)]
pub(crate) struct LossySender<T>(mpsc::Sender<T>);

/// The receiving end.
#[derive(Debug)]
pub(crate) struct BatchReceiver<T>(mpsc::Receiver<T>);

/// Both ends of a new queue.
pub(crate) fn lossy_queue<T>() -> (LossySender<T>, BatchReceiver<T>) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    (LossySender(sender), BatchReceiver(receiver))
}

impl<T> LossySender<T> {
    /// Sends an item. Never waits.
    ///
    /// # Errors
    /// If the queue is full, or its receiver is gone. The item is dropped.
    pub(crate) fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(item)
    }
}

impl<T> BatchReceiver<T> {
    /// Waits for items and returns all that are there, up to a limit. None when `stop` is cancelled, or
    /// all senders are gone.
    pub(crate) async fn next_batch(&mut self, stop: &CancellationToken) -> Option<Vec<T>> {
        let mut batch = Vec::new();
        let received = self.0.recv_many(&mut batch, MAX_BATCH);
        let count = stop.run_until_cancelled(received).await?;
        (count > 0).then_some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn items_beyond_the_limit_are_dropped_and_the_rest_comes_in_batches() {
        let (sender, mut receiver) = lossy_queue();
        let sent = (0..=MAX_WAITING).filter(|item| sender.try_send(*item).is_ok()).count();
        assert_eq!(sent, MAX_WAITING);
        let stop = CancellationToken::new();
        for start in [0, MAX_BATCH] {
            let batch = receiver.next_batch(&stop).await.unwrap();
            assert_eq!((batch.len(), batch[0]), (MAX_BATCH, start));
        }
        stop.cancel();
        assert_eq!(receiver.next_batch(&stop).await, None);
        drop(sender);
        assert_eq!(receiver.next_batch(&CancellationToken::new()).await, None);
    }
}
