//! A batch of messages: stores their rows in one transaction, then settles (acks) or requeues the messages.

use pipeline::{broker::Delivery, log_messages::REQUEUEING};
use tracing::warn;

use crate::{consumers::batch_outcome::BatchOutcome, events::notifier::Notifier};
use store::{Applied, Store, StoreError, WorkerResult};

/// Messages that are not settled yet, with the rows they are to become.
pub(crate) struct Batch<T> {
    deliveries: Vec<Delivery>,
    /// One for each delivery, in the same order.
    rows: Vec<T>,
}

/// A batch of which the store has taken nothing.
pub(crate) struct NotStored<T> {
    pub(crate) batch: Batch<T>,
    pub(crate) error: StoreError,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { deliveries: Vec::new(), rows: Vec::new() }
    }
}

impl<T> Batch<T> {
    /// Adds a message and its row.
    pub(crate) fn push(&mut self, delivery: Delivery, row: T) {
        self.deliveries.push(delivery);
        self.rows.push(row);
    }

    /// Whether there are no messages.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows, in the order of the messages.
    pub(crate) fn rows(&self) -> &[T] {
        &self.rows
    }

    /// The messages with their rows.
    pub(crate) fn into_messages(self) -> impl Iterator<Item = (Delivery, T)> {
        self.deliveries.into_iter().zip(self.rows)
    }

    /// Hands each message to `settle`, with its row and what the store made of that, and acks those that come back:
    /// all at once, so that one frame is enough.
    pub(crate) fn settle(
        self,
        applied: Vec<Applied>,
        mut settle: impl FnMut(Delivery, &T, Applied) -> Option<Delivery>,
    ) {
        let settled = self.into_messages().zip(applied);
        let to_ack =
            settled.filter_map(|((delivery, row), applied)| settle(delivery, &row, applied));
        to_ack.collect::<Vec<_>>().into_iter().for_each(Delivery::ack);
    }
}

impl<T> NotStored<T> {
    /// Requeues all messages.
    pub(crate) fn requeue_all(self) -> BatchOutcome {
        warn!(messages = self.batch.rows.len(), error = %self.error, "{REQUEUEING}");
        self.batch.deliveries.into_iter().for_each(Delivery::requeue);
        BatchOutcome::StoreAway
    }
}

impl Batch<WorkerResult> {
    /// Stores results in one transaction, notifies those who wait for them, and settles each
    /// message as [`Self::settle`] does.
    ///
    /// # Errors
    /// With the whole batch, if the store has taken nothing.
    pub(crate) async fn store(
        self,
        store: &Store,
        notifier: &Notifier,
        settle: impl FnMut(Delivery, &WorkerResult, Applied) -> Option<Delivery>,
    ) -> Result<BatchOutcome, NotStored<WorkerResult>> {
        if self.is_empty() {
            return Ok(BatchOutcome::NothingToStore);
        }
        match self.apply(store, notifier).await {
            Ok(applied) => {
                self.settle(applied, settle);
                Ok(BatchOutcome::Stored)
            }
            Err(error) => Err(NotStored { batch: self, error }),
        }
    }

    /// Stores results and notifies those who wait. If somebody waits here, the thread that commits does it: that is sooner
    /// than when this task is woken.
    async fn apply(&self, store: &Store, notifier: &Notifier) -> Result<Vec<Applied>, StoreError> {
        let rows = self.rows.clone();
        if self.rows.iter().any(|row| notifier.waiters.is_awaited(row.id)) {
            let (notifier, results) = (notifier.clone(), rows.clone());
            let notify =
                move |applied: &[Applied]| notifier.notify_results(results.iter().zip(applied));
            return store.apply_results_then(rows, notify).await;
        }
        let applied = store.apply_results(rows).await?;
        notifier.notify_results(self.rows.iter().zip(&applied));
        Ok(applied)
    }
}
