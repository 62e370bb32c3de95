//! The circuit breaker of an endpoint: when calls stop, and when one may try again. Pure decisions.

use std::{collections::HashMap, time::Duration};

use pipeline::{backoff::Backoff, contract::RequestId};
use tokio::time::Instant;

use crate::processors::http::response::{CallFailure, FailureKind};

/// So many failures in a row open the breaker.
const MAX_FAILURES: u32 = 3;
/// The first pause before the endpoint is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause, without jitter, which makes it at most twice as long: work goes on within seconds of the endpoint's
/// return.
const MAX_PAUSE: Duration = Duration::from_millis(2500);
/// The longest pause that the endpoint can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Counts the failures in a row, and keeps calls back after too many.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    /// The request of the first failure in a row.
    first: Option<RequestId>,
    /// Whether several requests are among those that failed.
    several: bool,
    open: Option<Open>,
}

/// An open breaker.
#[derive(Debug)]
struct Open {
    reason: String,
    backoff: Backoff,
    opened: Instant,
    last_failure: Instant,
    next_probe: Instant,
    /// Whether a call has lasted since the last failure: then others may call, too.
    reached: bool,
    /// How often requests went back in their present attempts, since it opened.
    hand_backs: HashMap<RequestId, u32>,
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The breaker is closed: the failure is an attempt's.
    Closed,
    /// It has opened: until this time nobody is to call.
    Opened(Instant),
    /// It is open still.
    Open,
}

impl Breaker {
    /// Notes the failure of a call for this request, which began then.
    pub(super) fn failed(
        &mut self,
        request: &RequestId,
        failure: &CallFailure,
        began: Instant,
        now: Instant,
    ) -> Change {
        if let Some(open) = &mut self.open {
            open.failed(failure, began, now);
            return Change::Open;
        }
        self.failures += 1;
        self.several |= self.first.get_or_insert_with(|| request.clone()) != request;
        let enough = self.failures >= MAX_FAILURES && self.several;
        if !enough && failure.kind != FailureKind::NoConnection {
            return Change::Closed;
        }
        let open = self.open.insert(Open::new(now));
        open.failed(failure, now, now);
        Change::Opened(open.next_probe)
    }

    /// Notes that a call which began then lasts: it has reached the endpoint, and may fail nevertheless. So others may call,
    /// too, and the breaker stays open. Returns whether that is news.
    pub(super) fn reached(&mut self, began: Instant) -> bool {
        match &mut self.open {
            Some(open) if open.last_failure <= began => !std::mem::replace(&mut open.reached, true),
            _ => false,
        }
    }

    /// Whether all may call.
    pub(super) fn lets_pass(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.reached)
    }

    /// Notes that the endpoint has done its work in a call that began then. Returns whether that closes the breaker: a
    /// call that began before it opened may have been answered by what is down now. Failures of other calls meanwhile don't
    /// count, as there may always be some while the answers take long.
    pub(super) fn answered(&mut self, began: Instant) -> bool {
        if self.open.as_ref().is_some_and(|open| began <= open.opened) {
            return false;
        }
        std::mem::take(self).open.is_some()
    }

    /// How often this request went back in its present attempt, since the breaker has opened.
    pub(super) fn hand_backs(&self, id: &RequestId) -> u32 {
        let count = |open: &Open| open.hand_backs.get(id).copied();
        self.open.as_ref().and_then(count).unwrap_or_default()
    }

    /// Notes that this request goes back.
    pub(super) fn note_hand_back(&mut self, id: &RequestId) {
        if let Some(open) = &mut self.open {
            *open.hand_backs.entry(id.clone()).or_default() += 1;
        }
    }

    /// Notes that an attempt at this request has ended: the next one may go back as often.
    pub(super) fn note_attempt(&mut self, id: &RequestId) {
        if let Some(open) = &mut self.open {
            open.hand_backs.remove(id);
        }
    }

    /// When the endpoint may be tried again, if the breaker is open.
    pub(super) fn next_probe(&self) -> Option<Instant> {
        Some(self.open.as_ref()?.next_probe)
    }

    /// Why the breaker is open, if it is.
    pub(super) fn reason(&self) -> Option<&str> {
        Some(&self.open.as_ref()?.reason)
    }
}

impl Open {
    fn new(now: Instant) -> Self {
        let backoff = Backoff::new(FIRST_PAUSE, MAX_PAUSE).with_jitter();
        let (reason, hand_backs) = (String::new(), HashMap::new());
        let (opened, last_failure, next_probe) = (now, now, now);
        Self { reason, backoff, opened, last_failure, next_probe, reached: false, hand_backs }
    }

    fn failed(&mut self, failure: &CallFailure, began: Instant, now: Instant) {
        if began < self.last_failure {
            return;
        }
        let asked = failure.retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
        self.reason.clone_from(&failure.error.message);
        self.last_failure = now;
        self.reached = false;
        self.next_probe = now + self.backoff.next_pause().max(asked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processor::job::Job;

    fn failure(kind: FailureKind) -> CallFailure {
        CallFailure::without_response(kind, "as told".to_owned())
    }

    fn id(text: &str) -> RequestId {
        Job::new(text, ()).id
    }

    /// What follows from failures of this kind, each of this request.
    fn after(kind: FailureKind, requests: &[&str]) -> Vec<bool> {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let opened = requests.iter().map(|request| {
            breaker.failed(&id(request), &failure(kind), now, now) != Change::Closed
        });
        opened.collect()
    }

    #[test]
    fn three_failures_in_a_row_from_two_requests_open_it() {
        for kind in [FailureKind::Away, FailureKind::Answered] {
            assert_eq!(after(kind, &["a", "b", "a"]), [false, false, true]);
            assert_eq!(after(kind, &["a", "a", "b"]), [false, false, true]);
            assert_eq!(after(kind, &["a", "a", "a", "a"]), [false; 4]);
            assert_eq!(after(kind, &["a", "a", "a", "b"]), [false, false, false, true]);
        }
    }

    #[test]
    fn a_refused_connection_opens_it_at_once() {
        assert_eq!(after(FailureKind::NoConnection, &["a"]), [true]);
    }

    #[test]
    fn an_answer_in_between_begins_anew() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for request in ["a", "b", "c", "d"] {
            for _ in 0..2 {
                let change = breaker.failed(&id(request), &failure(FailureKind::Away), now, now);
                assert_eq!(change, Change::Closed);
            }
            assert!(!breaker.answered(now), "it was closed");
        }
    }

    #[test]
    fn pauses_grow_and_only_the_latest_calls_count() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        let (a, gone) = (id("a"), failure(FailureKind::NoConnection));
        let Change::Opened(mut probe) = breaker.failed(&a, &gone, start, start) else { panic!() };
        for least in [500, 1000, 2000, 2500, 2500].map(Duration::from_millis) {
            let began = probe;
            let pause = probe - (if least == FIRST_PAUSE { start } else { began });
            assert!(least != FIRST_PAUSE || pause >= FIRST_PAUSE && pause <= FIRST_PAUSE * 2);
            assert_eq!(breaker.failed(&a, &gone, began, began), Change::Open);
            let next = breaker.next_probe().unwrap();
            assert!(next - began >= least && next - began <= MAX_PAUSE * 2, "{:?}", next - began);
            assert_eq!(breaker.failed(&a, &gone, start, began), Change::Open);
            assert_eq!(breaker.next_probe(), Some(next), "one that began before changes nothing");
            assert!(!breaker.answered(start), "nor does its answer");
            probe = next;
        }
        assert_eq!(breaker.reason(), Some("as told"));
        assert!(breaker.answered(probe));
        assert_eq!((breaker.reason(), breaker.next_probe()), (None, None));
    }

    #[test]
    fn a_call_that_lasts_lets_others_pass_and_only_an_answer_closes_it() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        let [a, gone] = [FailureKind::Away, FailureKind::NoConnection].map(failure);
        assert!(breaker.lets_pass() && !breaker.reached(start));
        breaker.failed(&id("a"), &gone, start, start);
        assert!(!breaker.lets_pass());
        for n in 1..=3 {
            let [began, ended] = [2 * n, 2 * n + 1].map(|pauses| start + pauses * FIRST_PAUSE);
            assert!(breaker.reached(began) && !breaker.reached(began), "it is news once");
            assert!(breaker.lets_pass() && breaker.reason().is_some());
            assert_eq!(breaker.failed(&id("a"), &a, began, ended), Change::Open, "no attempt");
            assert!(!breaker.lets_pass() && !breaker.reached(began));
        }
        let later = start + MAX_PAUSE * 10;
        assert!(breaker.reached(later) && breaker.answered(later));
        assert!(breaker.lets_pass() && breaker.reason().is_none());
    }

    #[test]
    fn hand_backs_are_counted_until_the_endpoint_does_its_work() {
        let (mut breaker, now, me) = (Breaker::default(), Instant::now(), id("a"));
        for _ in 0..2 {
            breaker.failed(&me, &failure(FailureKind::NoConnection), now, now);
            for count in 1..=3 {
                breaker.note_hand_back(&me);
                assert_eq!((breaker.hand_backs(&me), breaker.hand_backs(&id("b"))), (count, 0));
            }
            breaker.note_attempt(&me);
            assert_eq!(breaker.hand_backs(&me), 0, "each attempt may go back as often");
            breaker.note_hand_back(&me);
            assert!(breaker.answered(now + FIRST_PAUSE));
            assert_eq!(breaker.hand_backs(&me), 0);
        }
    }

    #[test]
    fn a_long_call_that_is_answered_closes_it_whatever_has_failed_meanwhile() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        let [opened, began, failed] = [0, 1, 2].map(|pauses| start + pauses * MAX_PAUSE);
        breaker.failed(&id("a"), &failure(FailureKind::NoConnection), opened, opened);
        breaker.failed(&id("b"), &failure(FailureKind::Answered), failed, failed);
        assert!(!breaker.answered(opened), "it may have been answered before");
        assert!(breaker.answered(began));
    }

    #[test]
    fn the_endpoint_may_ask_for_a_longer_pause_within_limits() {
        for (asked, least) in [(20, 20), (3600, 60)] {
            let (mut breaker, now) = (Breaker::default(), Instant::now());
            let asking = CallFailure {
                retry_after: Some(Duration::from_secs(asked)),
                ..failure(FailureKind::NoConnection)
            };
            breaker.failed(&id("a"), &asking, now, now);
            assert_eq!(breaker.next_probe().unwrap() - now, Duration::from_secs(least));
        }
    }
}
