//! How a command gets into a queue of the backend, and its answer back, in time.

use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use crate::{
    Store,
    backend::BATCH_PART_BYTES,
    command::{Read, Reply, Write},
    error::StoreError,
    metrics,
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
        let (reply, answer) = oneshot::channel();
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
            if limit >= self.options.timeout / MIN_FAIR_TIMEOUT_DIVISOR {
                health.suspect();
            }
            Err(StoreError::Unavailable(format!("no answer within {limit:?}")))
        })
    }
}

/// The backend dropped the command, and is available again by now.
fn lost() -> StoreError {
    StoreError::Unavailable("the operation was lost while the store was unavailable".to_owned())
}
