//! How a command gets into its queue and its answer back, in time.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    Store, StoreError,
    command::{Read, Reply, Write},
};

/// A batch may take this many times as long as a single command,
const BATCH_PATIENCE: u32 = 6;
/// and once more for each of these many bytes.
pub(super) const PIECE: usize = 8 << 20;

/// A store is not judged by silence within less than this part of the usual patience.
const FAIR: u32 = 2;

impl Store {
    /// Something that may be large, and may take longer for that.
    pub(super) async fn change_many<T>(
        &self,
        bytes: usize,
        command: impl FnOnce(Reply<T>) -> Write,
    ) -> Result<T, StoreError> {
        let pieces = u32::try_from(bytes / PIECE).unwrap_or(u32::MAX);
        let patience = self.patience.saturating_mul(BATCH_PATIENCE.saturating_add(pieces));
        self.change(&self.writes, patience, command).await
    }

    /// Something that changes what is stored, by one of the queues for that. The store is away for all from
    /// now on if it says nothing.
    pub(super) async fn change<T>(
        &self,
        queue: &mpsc::Sender<Write>,
        patience: Duration,
        command: impl FnOnce(Reply<T>) -> Write,
    ) -> Result<T, StoreError> {
        let answer = self.ask(queue, patience, command).await;
        answer.unwrap_or_else(|Silence(reason)| {
            if patience >= self.patience / FAIR {
                // From now on nobody else has to wait for it.
                self.health.away(&reason);
            }
            // If it only was slow, it answers this.
            let _ = queue.try_send(Write::Ping(oneshot::channel().0));
            Err(StoreError::Unavailable(reason))
        })
    }

    /// Something that only looks.
    pub(super) async fn look<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Read,
    ) -> Result<T, StoreError> {
        let answer = self.ask(&self.reads, self.patience, command).await;
        answer.unwrap_or_else(|Silence(reason)| Err(StoreError::Unavailable(reason)))
    }

    async fn ask<C, T>(
        &self,
        queue: &mpsc::Sender<C>,
        patience: Duration,
        command: impl FnOnce(Reply<T>) -> C,
    ) -> Result<Result<T, StoreError>, Silence> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.health.check().await?;
            let sent = queue.send(command(reply)).await;
            match (sent, answer.await) {
                (Ok(()), Ok(answer)) => answer,
                _ => Err(self.health.reason().unwrap_or_else(lost)),
            }
        };
        let answer = timeout(patience, asked).await;
        answer.map_err(|_| Silence(format!("no answer within {patience:?}")))
    }
}

/// The one who worked on it is gone, and the store is back already.
fn lost() -> StoreError {
    StoreError::Unavailable("it was lost while this was under way".to_owned())
}

/// Nobody answered in time, as a sentence.
struct Silence(String);
