//! How a command gets into a queue of the backend, and its answer back, in time.

use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::{
    Store,
    backend::BATCH_PART_BYTES,
    command::{Read, Reply, Write},
    error::StoreError,
    metrics,
    model::request::NewRequest,
};

/// How many statements a write of the background may have to wait for, its own included. Each
/// [`BATCH_PART_BYTES`] of its rows are one more.
const MAX_STATEMENTS_AWAITED: u32 = 4;

/// A command without an answer casts suspicion on the store only if it was given this part of the usual
/// timeout at least.
const MIN_FAIR_TIMEOUT_DIVISOR: u32 = 2;

impl Store {
    /// Sends a write for which no client waits, with so many bytes. It may be slow.
    pub(crate) async fn write_in_background<T>(
        &self,
        bytes: usize,
        command: impl FnOnce(Reply<T>) -> Write,
    ) -> Result<T, StoreError> {
        let parts = u32::try_from(bytes / BATCH_PART_BYTES).unwrap_or(u32::MAX);
        let statements = MAX_STATEMENTS_AWAITED.saturating_add(parts);
        let limit = self.options.statement_timeout.saturating_mul(statements);
        self.send_command(&self.backend.background_writes, limit, &self.metrics.background, command)
            .await
    }

    /// Sends a write for which a client waits.
    pub(crate) async fn write_for_client<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Write,
    ) -> Result<T, StoreError> {
        self.send_command(
            &self.backend.client_writes,
            self.options.timeout,
            &self.metrics.write,
            command,
        )
        .await
    }

    /// Sends a write that accepts requests.
    pub(crate) async fn write_urgent<T>(
        &self,
        limit: Duration,
        command: impl FnOnce(Reply<T>) -> Write,
    ) -> Result<T, StoreError> {
        self.send_command(&self.backend.urgent_writes, limit, &self.metrics.accept, command).await
    }

    /// Prepares a write that accepts a request: what sends it, which never waits and may be called by any thread, and what
    /// waits for its answer. There is none if it was not sent, or the queue is full, or the store is unavailable.
    pub(crate) fn prepare_urgent(
        &self,
        request: NewRequest,
    ) -> (impl FnOnce() + Send + use<>, impl Future<Output = Option<Result<(), StoreError>>> + use<>)
    {
        let (reply, answer) = Reply::channel();
        let (queue, health) = (self.backend.urgent_writes.clone(), self.backend.health.clone());
        let send = move || {
            // A backend that hangs would not answer, either. The answer shows whether it was sent.
            if health.reason().is_none() {
                let _ = queue.try_send(Write::Accept(request, reply));
            }
        };
        (send, async move { answer.await.ok() })
    }

    /// Notes that a write that accepts requests and was sent at `sent` has been answered.
    pub(crate) fn note_answered_urgent(&self, sent: Instant) {
        metrics::observe(&self.metrics.accept, sent.elapsed());
    }

    /// The error of such a write that had no answer in time.
    pub(crate) fn unanswered_urgent(&self, sent: Instant) -> StoreError {
        let waited = sent.elapsed();
        metrics::observe(&self.metrics.accept, waited);
        self.suspect_after(waited);
        StoreError::Unavailable(format!("no answer within {waited:?}"))
    }

    /// Suspects the store if there was no answer for so long.
    fn suspect_after(&self, waited: Duration) {
        if waited >= self.options.timeout / MIN_FAIR_TIMEOUT_DIVISOR {
            self.backend.health.suspect();
        }
    }

    /// Sends a read.
    pub(crate) async fn read<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Read,
    ) -> Result<T, StoreError> {
        self.send_command(&self.backend.reads, self.options.timeout, &self.metrics.read, command)
            .await
    }

    /// Sends a command and waits for its answer. If none comes in time, the command may be done all the same.
    async fn send_command<C, T>(
        &self,
        queue: &mpsc::Sender<C>,
        limit: Duration,
        durations: &Histogram,
        command: impl FnOnce(Reply<T>) -> C,
    ) -> Result<T, StoreError> {
        let (reply, answer) = Reply::channel();
        let (health, began) = (&self.backend.health, Instant::now());
        let answered = async {
            health.check().await?;
            let sent = queue.send(command(reply)).await;
            match (sent, answer.await) {
                (Ok(()), Ok(answer)) => answer,
                _ => Err(health.reason().unwrap_or_else(lost)),
            }
        };
        let answered = timeout(limit, answered).await;
        metrics::observe(durations, began.elapsed());
        answered.unwrap_or_else(|_| {
            self.suspect_after(limit);
            Err(StoreError::Unavailable(format!("no answer within {limit:?}")))
        })
    }
}

/// The backend dropped the command, and is available again by now.
fn lost() -> StoreError {
    StoreError::Unavailable("the operation was lost while the store was unavailable".to_owned())
}
