//! Early retries: failed attempts at requests that are not stored yet. They are kept for a minute, and tried again and
//! again.
//!
//! The worker of a request that the broker has confirmed can be faster than the commit of the request's row.

use std::{future::pending, time::Duration};

use tokio::time::{Instant, sleep_until};
use tracing::debug;
use uuid::Uuid;

use store::ScheduledRetry;

/// The pause before the second try to record a retry. Each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// A retry for which the next pause would be longer is dropped, a minute after it came.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// The most retries that are kept.
const MAX_KEPT: usize = 1000;

/// A retry to be recorded.
#[derive(Debug, Clone)]
pub(crate) struct EarlyRetry {
    /// What is recorded.
    pub(crate) retry: ScheduledRetry,
    pause: Duration,
    due_at: Instant,
}

impl EarlyRetry {
    /// A retry that has just come.
    pub(crate) fn new(retry: ScheduledRetry) -> Self {
        Self { retry, pause: FIRST_PAUSE, due_at: Instant::now() }
    }

    /// The request.
    pub(crate) fn id(&self) -> Uuid {
        self.retry.id
    }
}

/// Retries that wait for their requests.
#[derive(Debug, Default)]
pub(crate) struct EarlyRetries(Vec<EarlyRetry>);

impl EarlyRetries {
    /// Keeps retries that could not be recorded, unless that was tried for long enough, or too many are kept.
    pub(crate) fn keep(&mut self, retries: impl IntoIterator<Item = EarlyRetry>, now: Instant) {
        for retry in retries {
            if retry.pause > MAX_PAUSE || self.0.len() >= MAX_KEPT {
                debug!(requestId = %retry.id(), "retry not recorded: the request is not stored");
                continue;
            }
            let (due_at, pause) = (now + retry.pause, retry.pause * 2);
            self.0.push(EarlyRetry { pause, due_at, ..retry });
        }
    }

    /// Waits until one may be tried again; for ever if none is kept.
    pub(crate) async fn due(&self) {
        match self.due_at() {
            Some(due_at) => sleep_until(due_at).await,
            None => pending().await,
        }
    }

    fn due_at(&self) -> Option<Instant> {
        self.0.iter().map(|kept| kept.due_at).min()
    }

    /// Takes out those that may be tried again.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<EarlyRetry> {
        self.0.extract_if(.., |kept| kept.due_at <= now).collect()
    }
}

#[cfg(test)]
mod tests {
    use pipeline::contract::ErrorBody;

    use super::*;

    fn retry() -> EarlyRetry {
        EarlyRetry::new(ScheduledRetry {
            id: Uuid::now_v7(),
            run: 0,
            attempts: 1,
            delivery: 1,
            worker: None,
            started_at: None,
            ended_at: None,
            error: ErrorBody::new("busy", ""),
            next_attempt_at: None,
        })
    }

    #[test]
    fn a_retry_is_tried_for_a_minute() {
        let (mut early, start) = (EarlyRetries::default(), Instant::now());
        early.keep([retry()], start);
        assert!(early.take_due(start).is_empty());
        let mut tries = Vec::new();
        while let Some(due_at) = early.due_at() {
            tries.push(due_at - start);
            let due = early.take_due(due_at);
            early.keep(due, due_at);
        }
        assert_eq!((tries[0], tries.len()), (FIRST_PAUSE, 9));
        assert_eq!(tries[8], FIRST_PAUSE * 511, "51 s");
    }

    #[test]
    fn the_retries_are_bounded() {
        let mut early = EarlyRetries::default();
        early.keep((0..=MAX_KEPT).map(|_| retry()), Instant::now());
        assert_eq!(early.0.len(), MAX_KEPT);
    }
}
