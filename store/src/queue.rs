//! How a command gets into a queue of the backend, and its answer back, in time.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    Store,
    backend::BATCH_PART_BYTES,
    command::{Read, Reply, Write},
    error::StoreError,
};

/// A batch may take this many times as long as a single command, and once more for each
/// [`BATCH_PART_BYTES`].
const BATCH_TIMEOUT_FACTOR: u32 = 6;

/// A write without an answer makes the store unavailable only if it was given this part of the usual
/// timeout at least.
const MIN_FAIR_TIMEOUT_DIVISOR: u32 = 2;

/// No answer came in time; the text says within what time.
struct NoAnswer(String);

impl Store {
    /// Sends a write.
    pub(crate) async fn write<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Write,
    ) -> Result<T, StoreError> {
        self.write_to(&self.backend.writes, self.timeout, command).await
    }

    /// Sends a write with many rows, which may take longer the more bytes they have.
    pub(crate) async fn write_batch<T>(
        &self,
        bytes: usize,
        command: impl FnOnce(Reply<T>) -> Write,
    ) -> Result<T, StoreError> {
        let parts = u32::try_from(bytes / BATCH_PART_BYTES).unwrap_or(u32::MAX);
        let limit = self.timeout.saturating_mul(BATCH_TIMEOUT_FACTOR.saturating_add(parts));
        self.write_to(&self.backend.writes, limit, command).await
    }

    /// Sends a write on which an answer to a client waits.
    pub(crate) async fn write_urgent<T>(
        &self,
        limit: Duration,
        command: impl FnOnce(Reply<T>) -> Write,
    ) -> Result<T, StoreError> {
        self.write_to(&self.backend.urgent_writes, limit, command).await
    }

    /// Sends a read.
    pub(crate) async fn read<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Read,
    ) -> Result<T, StoreError> {
        let answer = self.send_command(&self.backend.reads, self.timeout, command).await;
        answer.unwrap_or_else(|NoAnswer(reason)| Err(StoreError::Unavailable(reason)))
    }

    /// A write without an answer makes the store unavailable for everybody.
    async fn write_to<T>(
        &self,
        queue: &mpsc::Sender<Write>,
        limit: Duration,
        command: impl FnOnce(Reply<T>) -> Write,
    ) -> Result<T, StoreError> {
        let answer = self.send_command(queue, limit, command).await;
        answer.unwrap_or_else(|NoAnswer(reason)| {
            if limit >= self.timeout / MIN_FAIR_TIMEOUT_DIVISOR {
                // From now on nobody else has to wait for it.
                self.backend.health.set_away(&reason);
            }
            // If it only was slow, it answers this, and is available again.
            let _ = queue.try_send(Write::Ping(oneshot::channel().0));
            Err(StoreError::Unavailable(reason))
        })
    }

    async fn send_command<C, T>(
        &self,
        queue: &mpsc::Sender<C>,
        limit: Duration,
        command: impl FnOnce(Reply<T>) -> C,
    ) -> Result<Result<T, StoreError>, NoAnswer> {
        let (reply, answer) = oneshot::channel();
        let health = &self.backend.health;
        let answered = async {
            health.check().await?;
            let sent = queue.send(command(reply)).await;
            match (sent, answer.await) {
                (Ok(()), Ok(answer)) => answer,
                _ => Err(health.reason().unwrap_or_else(lost)),
            }
        };
        let answer = timeout(limit, answered).await;
        answer.map_err(|_| NoAnswer(format!("no answer within {limit:?}")))
    }
}

/// The backend dropped the command, and is available again by now.
fn lost() -> StoreError {
    StoreError::Unavailable("the operation was lost while the store was unavailable".to_owned())
}
