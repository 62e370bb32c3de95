//! Trying again: how long, how often, and what is said meanwhile.

use std::{
    mem,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use indicatif::ProgressBar;
use tokio::time::{Instant, sleep};

use crate::{api::CallError, output};

/// The longest pause, whatever a service asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often the same trouble is told at most.
const SELDOM: Duration = Duration::from_secs(10);

/// The pauses of one call, until its time is over.
struct Pauses {
    until: Instant,
    pauses: ExponentialBackoff,
}

impl Pauses {
    fn new(until: Instant) -> Self {
        let pauses = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times();
        Self { until, pauses: pauses.build() }
    }

    /// The next pause, at least as long as the service has asked for; none when the time is over.
    fn next(&mut self, now: Instant, asked: Duration) -> Option<Duration> {
        let left = self.until.saturating_duration_since(now);
        let pause = self.pauses.next().unwrap_or(LONGEST_PAUSE);
        (!left.is_zero()).then(|| pause.max(asked.min(LONGEST_PAUSE)).min(left))
    }
}

/// Says on standard error when a service is in trouble, and when it is well again.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    told: Mutex<Told>,
    /// What must not be written over.
    bar: Option<ProgressBar>,
}

#[derive(Debug, Default)]
struct Told {
    trouble: bool,
    last: Option<Instant>,
}

impl Notes {
    /// Notes that stand above a progress bar.
    pub(crate) fn above(bar: ProgressBar) -> Self {
        Self { told: Mutex::default(), bar: Some(bar) }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::note(text)),
            None => output::note(text),
        }
    }

    /// Once for all calls that go wrong together, and seldom for a service that comes and goes.
    fn trouble(&self, error: &CallError) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = told.last.is_some_and(|last| last.elapsed() < SELDOM);
        if !told.trouble && !lately {
            *told = Told { trouble: true, last: Some(Instant::now()) };
            self.say(&format!("{error}; trying again"));
        }
    }

    fn well(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if mem::take(&mut told.trouble) {
            self.say("the service answers again");
        }
    }
}

/// Calls again and again, with growing pauses, as long as that can help and there is time.
///
/// # Errors
/// The last one.
pub(crate) async fn patiently<T>(
    notes: &Notes,
    until: Instant,
    mut call: impl AsyncFnMut() -> Result<T, CallError>,
) -> Result<T, CallError> {
    let mut pauses = Pauses::new(until);
    // A single lost connection is not worth a word.
    let mut failed_before = false;
    loop {
        let error = match call().await {
            Err(error) => error,
            Ok(value) => {
                if failed_before {
                    notes.well();
                }
                return Ok(value);
            }
        };
        let pause = error.try_again().and_then(|asked| pauses.next(Instant::now(), asked));
        let Some(pause) = pause else { return Err(error) };
        if failed_before {
            notes.trouble(&error);
        }
        failed_before = true;
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> CallError {
        CallError::Unreachable("away".to_owned())
    }

    #[test]
    fn pauses_grow_heed_the_service_and_end_with_the_time() {
        let now = Instant::now();
        let mut pauses = Pauses::new(now + Duration::from_secs(60));
        assert!(pauses.next(now, Duration::ZERO).unwrap() < Duration::from_millis(300));
        assert!(pauses.next(now, Duration::from_secs(2)).unwrap() >= Duration::from_secs(2));
        assert!(pauses.next(now, Duration::from_secs(3600)).unwrap() <= 2 * LONGEST_PAUSE);
        let soon = now + Duration::from_millis(59_990);
        assert_eq!(pauses.next(soon, Duration::ZERO), Some(Duration::from_millis(10)));
        assert_eq!(pauses.next(now + Duration::from_secs(60), Duration::ZERO), None);
    }

    #[tokio::test]
    async fn what_passes_is_tried_again_until_the_time_is_over() {
        let (mut calls, notes) = (0, Notes::default());
        let until = Instant::now() + Duration::from_millis(150);
        let ended = patiently(&notes, until, async || {
            calls += 1;
            Err::<(), _>(away())
        });
        assert!(matches!(ended.await, Err(CallError::Unreachable(_))));
        assert!(calls > 1 && Instant::now() >= until, "{calls}");
    }

    #[tokio::test]
    async fn what_does_not_pass_is_not_tried_again() {
        let (mut calls, notes) = (0, Notes::default());
        let until = Instant::now() + Duration::from_secs(30);
        let ended = patiently(&notes, until, async || {
            calls += 1;
            Err::<(), _>(CallError::Missing(String::new()))
        });
        assert!(ended.await.is_err());
        assert_eq!(calls, 1);
    }

    #[tokio::test]
    async fn the_first_success_counts() {
        let (mut calls, notes) = (0, Notes::default());
        let until = Instant::now() + Duration::from_secs(30);
        let ended = patiently(&notes, until, async || {
            calls += 1;
            if calls < 3 { Err(away()) } else { Ok(calls) }
        });
        assert_eq!(ended.await.ok(), Some(3));
    }
}
