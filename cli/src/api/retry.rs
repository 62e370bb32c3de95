//! Retries of API calls: pauses, deadline, and the notices on standard error.

use std::{
    mem,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::ProgressBar;
use pipeline::backoff::Backoff;
use tokio::time::{Instant, sleep};

use super::error::CallError;
use crate::output;

/// The first pause of the backoff.
const MIN_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause, whatever `Retry-After` a service sends. Jitter may double it.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The least time between two notices of failing calls.
const NOTICE_INTERVAL: Duration = Duration::from_secs(10);

/// Repeats a call with growing pauses while that can help, until the deadline.
///
/// # Errors
/// The last one.
pub(crate) async fn with_retries<T>(
    notices: &RetryNotices,
    deadline: Instant,
    mut call: impl AsyncFnMut() -> Result<T, CallError>,
) -> Result<T, CallError> {
    let mut pauses = Pauses::until(deadline);
    // A single lost connection is not worth a notice.
    let mut failed_before = false;
    loop {
        let error = match call().await {
            Err(error) => error,
            Ok(value) => {
                if failed_before {
                    notices.recovered();
                }
                return Ok(value);
            }
        };
        let pause = error.retry_after().and_then(|least| pauses.next(Instant::now(), least));
        let Some(pause) = pause else { return Err(error) };
        if failed_before {
            notices.failing(&error);
        }
        failed_before = true;
        sleep(pause).await;
    }
}

/// Reports on standard error that calls fail, and that they succeed again.
#[derive(Debug, Default)]
pub(crate) struct RetryNotices {
    state: Mutex<NoticeState>,
    /// The progress bar that a notice must not overwrite.
    bar: Option<ProgressBar>,
}

#[derive(Debug, Default)]
struct NoticeState {
    failing: bool,
    last_failure: Option<Instant>,
}

impl RetryNotices {
    /// Notices that are printed above a progress bar.
    pub(crate) fn above(bar: ProgressBar) -> Self {
        Self { state: Mutex::default(), bar: Some(bar) }
    }

    /// Reports the first of all calls that fail together, and a service that comes and goes at most
    /// once per [`NOTICE_INTERVAL`].
    fn failing(&self, error: &CallError) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = state.last_failure.is_some_and(|last| last.elapsed() < NOTICE_INTERVAL);
        if !state.failing && !recent {
            *state = NoticeState { failing: true, last_failure: Some(Instant::now()) };
            self.print(&format!("{error}; trying again"));
        }
    }

    fn recovered(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if mem::take(&mut state.failing) {
            self.print("the service answers again");
        }
    }

    fn print(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::note(text)),
            None => output::note(text),
        }
    }
}

/// The pauses between the tries of one call.
struct Pauses {
    deadline: Instant,
    backoff: Backoff,
}

impl Pauses {
    fn until(deadline: Instant) -> Self {
        Self { deadline, backoff: Backoff::new(MIN_PAUSE, MAX_PAUSE).with_jitter() }
    }

    /// The next pause, at least as long as the service has asked for; `None` after the deadline.
    fn next(&mut self, now: Instant, least: Duration) -> Option<Duration> {
        let left = self.deadline.saturating_duration_since(now);
        let pause = self.backoff.next_pause().max(least.min(MAX_PAUSE));
        (!left.is_zero()).then(|| pause.min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable() -> CallError {
        CallError::Unreachable("unreachable".to_owned())
    }

    #[test]
    fn pauses_grow_heed_retry_after_and_end_at_the_deadline() {
        let now = Instant::now();
        let mut pauses = Pauses::until(now + Duration::from_secs(60));
        assert!(pauses.next(now, Duration::ZERO).unwrap() < Duration::from_millis(300));
        assert!(pauses.next(now, Duration::from_secs(2)).unwrap() >= Duration::from_secs(2));
        assert!(pauses.next(now, Duration::from_secs(3600)).unwrap() <= 2 * MAX_PAUSE);
        let soon = now + Duration::from_millis(59_990);
        assert_eq!(pauses.next(soon, Duration::ZERO), Some(Duration::from_millis(10)));
        assert_eq!(pauses.next(now + Duration::from_secs(60), Duration::ZERO), None);
    }

    /// Makes calls until the deadline; gives the outcome and how many calls there were.
    async fn calls(
        deadline: Instant,
        outcome: impl Fn(u32) -> Result<(), CallError>,
    ) -> (Result<(), CallError>, u32) {
        let (mut calls, notices) = (0, RetryNotices::default());
        let ended = with_retries(&notices, deadline, async || {
            calls += 1;
            outcome(calls)
        });
        (ended.await, calls)
    }

    #[tokio::test]
    async fn a_passing_error_is_retried_until_the_deadline() {
        let deadline = Instant::now() + Duration::from_millis(150);
        let (ended, calls) = calls(deadline, |_| Err(unreachable())).await;
        assert!(matches!(ended, Err(CallError::Unreachable(_))));
        assert!(calls > 1 && Instant::now() >= deadline, "{calls}");
    }

    #[tokio::test]
    async fn a_lasting_error_is_not_retried() {
        let deadline = Instant::now() + Duration::from_secs(30);
        let (ended, calls) = calls(deadline, |_| Err(CallError::NotFound(String::new()))).await;
        assert!(ended.is_err());
        assert_eq!(calls, 1);
    }

    #[tokio::test]
    async fn the_first_success_ends_the_retries() {
        let deadline = Instant::now() + Duration::from_secs(30);
        let fails_twice = |call| if call < 3 { Err(unreachable()) } else { Ok(()) };
        let (ended, calls) = calls(deadline, fails_twice).await;
        assert_eq!((ended.is_ok(), calls), (true, 3));
    }
}
