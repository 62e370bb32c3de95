//! Shared answers: of a question that takes seconds, asked once for all who wait for its answer.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    sync::{Mutex, MutexGuard},
    time::Instant,
};

/// The answer to a question that is asked by one caller at a time. Whoever has to wait for a turn gets the answer of one that
/// began meanwhile: so nobody waits for more than two answers, however many ask.
#[derive(Debug)]
pub(crate) struct SharedAnswer<T> {
    /// When the last question was asked, and its answer, as long as somebody waits for it.
    last: Mutex<Option<(Instant, Arc<T>)>>,
    waiting: AtomicUsize,
}

/// Somebody who waits for a turn.
struct Waiting<'w>(&'w AtomicUsize);

impl<T> Default for SharedAnswer<T> {
    fn default() -> Self {
        Self { last: Mutex::default(), waiting: AtomicUsize::new(0) }
    }
}

impl<T> SharedAnswer<T> {
    /// An answer to a question that was asked after this call.
    pub(crate) async fn get(&self, ask: impl Future<Output = T>) -> Arc<T> {
        let called_at = Instant::now();
        let mut last = self.turn().await;
        let answer = match last.take() {
            Some((asked_at, answer)) if asked_at >= called_at => (asked_at, answer),
            _ => (Instant::now(), Arc::new(ask.await)),
        };
        let shared = answer.1.clone();
        // An answer can be large. It is kept only for those who wait.
        *last = (self.waiting.load(Ordering::Relaxed) > 0).then_some(answer);
        shared
    }

    async fn turn(&self) -> MutexGuard<'_, Option<(Instant, Arc<T>)>> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        self.last.lock().await
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, future};
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn all_who_wait_get_the_answer_to_the_next_question() {
        let (shared, asked) = (SharedAnswer::default(), AtomicUsize::new(0));
        let may_answer = Semaphore::new(0);
        let ask = || async {
            let number = asked.fetch_add(1, Ordering::Relaxed);
            may_answer.acquire().await.unwrap().forget();
            number
        };
        let all = future::join_all((0..100).map(|_| shared.get(ask())));
        let (answers, ()) = future::join(all, async { may_answer.add_permits(3) }).await;
        assert_eq!((*answers[0], *answers[1], *answers[99]), (0, 1, 1), "two were asked");
        assert!(shared.last.lock().await.is_none(), "nobody waits for it any more");
        assert_eq!(*shared.get(ask()).await, 2, "what was asked before is not the answer");
    }

    #[tokio::test]
    async fn a_caller_who_leaves_holds_up_nobody() {
        let shared = SharedAnswer::default();
        assert!(shared.get(future::pending()).now_or_never().is_none(), "it has no answer yet");
        assert_eq!(*shared.get(future::ready(1)).await, 1);
        assert_eq!(shared.waiting.load(Ordering::Relaxed), 0);
    }
}
