//! Those who wait for news of a request: woken by it, instead of asking again and again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;
use uuid::Uuid;

/// Who waits for which request. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Waiters {
    waiting: Arc<Mutex<HashMap<Uuid, watch::Sender<()>>>>,
}

/// One who waits. Register before looking at the store, or the news may come in between.
#[derive(Debug)]
pub struct Waiter {
    id: Uuid,
    /// Always there, but for the moment in which this one goes.
    news: Option<watch::Receiver<()>>,
    waiters: Waiters,
}

impl Waiters {
    /// Registers one who waits for news of a request.
    pub fn register(&self, id: Uuid) -> Waiter {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let news = Some(waiting.entry(id).or_default().subscribe());
        Waiter { id, news, waiters: self.clone() }
    }

    /// Wakes all who wait for these requests.
    pub fn wake(&self, ids: impl IntoIterator<Item = Uuid>) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            if let Some(news) = waiting.get(&id) {
                news.send_replace(());
            }
        }
    }

    /// Wakes all: something may have happened that nobody told.
    pub fn wake_all(&self) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for news in waiting.values() {
            news.send_replace(());
        }
    }

    /// How many requests somebody waits for.
    pub fn len(&self) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Waiter {
    /// Waits for news since the last time, or since the registration.
    pub async fn news(&mut self) {
        // The sender stays as long as somebody is registered.
        if let Some(news) = &mut self.news {
            let _ = news.changed().await;
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.waiters.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, or two who go at once would each take the other to be there still.
        self.news = None;
        if waiting.get(&self.id).is_some_and(|news| news.receiver_count() == 0) {
            waiting.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_who_wait_are_woken_and_nobody_else() {
        let waiters = Waiters::default();
        let (id, other) = (Uuid::now_v7(), Uuid::now_v7());
        let (mut one, mut two, mut three) =
            (waiters.register(id), waiters.register(id), waiters.register(other));
        waiters.wake([id]);
        tokio::join!(one.news(), two.news());
        let quiet = futures_util::FutureExt::now_or_never(three.news());
        assert!(quiet.is_none());
        waiters.wake_all();
        three.news().await;
    }

    #[test]
    fn nothing_is_left_of_those_who_went() {
        let waiters = Waiters::default();
        let id = Uuid::now_v7();
        let (one, two) = (waiters.register(id), waiters.register(id));
        drop(one);
        assert_eq!(waiters.len(), 1);
        drop(two);
        assert!(waiters.is_empty());
    }
}
