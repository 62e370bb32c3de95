//! Waiters: wakes those who wait for a request to change, such as long polls.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use store::WorkerResult;
use tokio::sync::watch;
use uuid::Uuid;

/// Who waits for which request. Clones share the same waiters.
#[derive(Debug, Clone, Default)]
pub struct Waiters {
    /// One channel for each request that somebody waits for.
    channels: Arc<Mutex<HashMap<Uuid, watch::Sender<News>>>>,
}

/// The last result of the request that was stored here and tells all that the store knows of it.
type News = Option<Arc<WorkerResult>>;

/// A registration for the changes of one request. Register before reading the store, so that a change in
/// between is not missed.
#[derive(Debug)]
pub struct Waiter {
    id: Uuid,
    /// Always there until the waiter is dropped.
    changes: Option<watch::Receiver<News>>,
    waiters: Waiters,
}

impl Waiters {
    /// Registers a waiter for a request.
    pub fn register(&self, id: Uuid) -> Waiter {
        let changes = Some(self.channels().entry(id).or_default().subscribe());
        Waiter { id, changes, waiters: self.clone() }
    }

    /// Whether somebody waits for this request.
    pub fn is_awaited(&self, id: Uuid) -> bool {
        self.channels().contains_key(&id)
    }

    /// Wakes all who wait for these requests.
    pub fn wake(&self, ids: impl IntoIterator<Item = Uuid>) {
        let channels = self.channels();
        for id in ids {
            if let Some(channel) = channels.get(&id) {
                channel.send_modify(|_| {});
            }
        }
    }

    /// Wakes all who wait for the request that a result has ended, with that result, which tells all of it.
    pub fn tell(&self, result: &WorkerResult) {
        if let Some(channel) = self.channels().get(&result.id) {
            channel.send_replace(Some(Arc::new(result.clone())));
        }
    }

    /// Wakes all waiters, when changes may have been missed.
    pub fn wake_all(&self) {
        for channel in self.channels().values() {
            channel.send_modify(|_| {});
        }
    }

    /// The number of requests that somebody waits for.
    pub fn len(&self) -> usize {
        self.channels().len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<Uuid, watch::Sender<News>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Waits until the request may have changed since the last call, or since the registration. Returns the last
    /// result that was told.
    pub async fn changed(&mut self) -> Option<Arc<WorkerResult>> {
        let changes = self.changes.as_mut()?;
        // The sender stays as long as a waiter is registered.
        let _ = changes.changed().await;
        changes.borrow_and_update().clone()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut channels = self.waiters.channels();
        // Under the lock: else each of two waiters that are dropped at the same time would still count
        // the other, and the channel would stay.
        self.changes = None;
        if channels.get(&self.id).is_some_and(|channel| channel.receiver_count() == 0) {
            channels.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use pipeline::topology::RequestType;
    use store::ResultOutcome;

    use super::*;

    #[tokio::test]
    async fn only_waiters_of_the_request_are_woken() {
        let waiters = Waiters::default();
        let (id, other) = (Uuid::now_v7(), Uuid::now_v7());
        let (mut one, mut two, mut three) =
            (waiters.register(id), waiters.register(id), waiters.register(other));
        waiters.wake([id]);
        tokio::join!(one.changed(), two.changed());
        let pending = futures_util::FutureExt::now_or_never(three.changed());
        assert!(pending.is_none());
        assert!(waiters.is_awaited(other) && !waiters.is_awaited(Uuid::now_v7()));
        waiters.wake_all();
        three.changed().await;
    }

    #[tokio::test]
    async fn a_result_is_told_and_stays_known_when_others_tell_of_the_end() {
        let (waiters, id) = (Waiters::default(), Uuid::now_v7());
        let mut waiter = waiters.register(id);
        waiters.wake([id]);
        assert_eq!(waiter.changed().await, None);
        let result = WorkerResult {
            id,
            request_type: RequestType::DEFAULT,
            outcome: ResultOutcome::Completed(b"1".as_slice().into()),
            run: Some(0),
            attempt: 1,
            deliveries: 1,
            worker: None,
            started_at: None,
            finished_at: None,
        };
        waiters.tell(&WorkerResult { id: Uuid::now_v7(), ..result.clone() });
        waiters.tell(&result);
        waiters.wake([id]);
        assert_eq!(waiter.changed().await.as_deref(), Some(&result));
    }

    #[test]
    fn the_last_waiter_removes_the_channel() {
        let waiters = Waiters::default();
        let id = Uuid::now_v7();
        let (one, two) = (waiters.register(id), waiters.register(id));
        drop(one);
        assert_eq!(waiters.len(), 1);
        drop(two);
        assert!(waiters.is_empty());
    }
}
