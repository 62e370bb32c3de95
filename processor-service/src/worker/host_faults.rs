//! Host faults: a process whose work can't begin slows down, then stops consuming and tries with a request now and
//! then. Otherwise it would take nearly all requests, since it fails faster than others work.

use std::{
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pipeline::{
    backoff::Backoff,
    log_messages::{HOST_FAULT, HOST_RECOVERED},
};
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use crate::worker::isolation::{Isolation, Suspended};

/// The first pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// A job that has not failed to begin for so long has begun.
const BEGUN_AFTER: Duration = Duration::from_secs(1);
/// After so many failures in a row all workers of the process stop consuming.
const MAX_FAILURES: u32 = 3;

/// The failures of this host to begin work. Clones share them.
#[derive(Clone)]
pub(crate) struct HostFaults {
    isolation: Isolation,
    /// How many types of requests there are.
    types: usize,
    state: Arc<Mutex<State>>,
}

struct State {
    /// How many jobs in a row could not begin.
    failures: u32,
    backoff: Backoff,
    last_failure: Option<Instant>,
    reason: String,
}

impl HostFaults {
    /// No failure yet. Workers are kept from consuming through `isolation`; as many in a row as there are types have
    /// different ones.
    pub(crate) fn new(isolation: Isolation, types: usize) -> Self {
        Self { isolation, types, state: Arc::new(Mutex::new(State::none())) }
    }

    /// Notes that the job of this worker, which was to start at this time, could not begin, and keeps the worker, or all
    /// workers, from consuming for a while. Failures at the same time count as one.
    pub(crate) fn failed(&self, slot: usize, at: Instant, reason: &str) {
        let mut state = self.state();
        if state.last_failure.is_some_and(|failure| failure > at) {
            return;
        }
        state.failures += 1;
        state.last_failure = Some(Instant::now());
        reason.clone_into(&mut state.reason);
        let (failures, pause) = (state.failures, state.backoff.next_pause());
        let (now, next) = suspensions(failures, slot, self.types);
        self.isolation.suspend(now);
        drop(state);
        let seconds = pause.as_secs_f64();
        if now == Suspended::All {
            error!(
                reason,
                failures,
                seconds,
                waiting = "all workers, then one of each type tries",
                "{HOST_FAULT}"
            );
        } else {
            warn!(reason, failures, seconds, waiting = "this worker", "{HOST_FAULT}");
        }
        let faults = self.clone();
        tokio::spawn(async move {
            sleep(pause).await;
            faults.resume(failures, next);
        });
    }

    /// Notes that a job has begun which started at this time.
    pub(crate) fn began(&self, at: Instant) {
        let mut state = self.state();
        // One that began before says nothing about the host as it is now.
        if state.last_failure.is_some_and(|failure| failure < at) {
            info!(failures = state.failures, "{HOST_RECOVERED}");
            *state = State::none();
            self.isolation.suspend(Suspended::Nobody);
        }
    }

    /// Notes that a job has begun once it has run for a moment. Never returns, so that it can run beside the job.
    pub(crate) async fn note_begun(&self, at: Instant) -> Infallible {
        sleep(BEGUN_AFTER).await;
        self.began(at);
        pending().await
    }

    /// Why all workers of the process have stopped consuming, if they have.
    pub(crate) fn present(&self) -> Option<String> {
        let state = self.state();
        (state.failures >= MAX_FAILURES).then(|| state.reason.clone())
    }

    /// Ends a pause, unless there was another failure, or a job has begun, meanwhile.
    fn resume(&self, failures: u32, suspended: Suspended) {
        let state = self.state();
        if state.failures == failures {
            self.isolation.suspend(suspended);
        }
    }

    /// Held while workers are suspended or resumed, so that these come in the order of what is counted.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which workers must not consume after so many failures, the last of them of this worker, and which after the pause. One
/// of each type tries: there may be no further request of this worker's type.
fn suspensions(failures: u32, slot: usize, types: usize) -> (Suspended, Suspended) {
    if failures < MAX_FAILURES {
        return (Suspended::One(slot), Suspended::Nobody);
    }
    let first = slot - (slot - 1) % types;
    (Suspended::All, Suspended::AllBut { first, last: first + types - 1 })
}

impl State {
    fn none() -> Self {
        let backoff = Backoff::new(FIRST_PAUSE, MAX_PAUSE).with_jitter();
        Self { failures: 0, backoff, last_failure: None, reason: String::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paused_after(failures: u32, slot: usize) -> [[bool; 6]; 2] {
        let isolation = Isolation::new(6);
        let (now, next) = suspensions(failures, slot, 2);
        [now, next].map(|suspended| {
            isolation.suspend(suspended);
            [1, 2, 3, 4, 5, 6].map(|slot| *isolation.paused(slot).borrow())
        })
    }

    #[test]
    fn after_three_failures_all_workers_wait_and_then_one_of_each_type_tries() {
        let (none, all) = ([false; 6], [true; 6]);
        assert_eq!(paused_after(2, 3), [[false, false, true, false, false, false], none]);
        // The types of the workers alternate.
        for slot in [3, 4] {
            assert_eq!(paused_after(3, slot), [all, [true, true, false, false, true, true]]);
        }
        assert_eq!(paused_after(9, 1), [all, [false, false, true, true, true, true]]);
    }
}
