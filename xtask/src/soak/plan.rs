//! The calls of the load, one after the other, with the work that each orders. They follow from the seed alone.

use std::{ops::RangeInclusive, time::Duration};

use rand::{RngExt, rngs::ChaCha8Rng};
use serde_json::{Value, json};

use super::{random, schedule::WEBS};

/// How many requests are posted in a second, on average.
pub(super) const REQUESTS_PER_SECOND: u32 = 60;
/// How often processors try work that fails: `MAX_ATTEMPTS`.
pub(super) const MAX_ATTEMPTS: i64 = 3;
/// How often workers may die over a request before it is parked as `poison`: `MAX_DELIVERIES`.
pub(super) const MAX_DELIVERIES: u32 = 5;

/// How many requests a batch has.
const BATCH_LINES: RangeInclusive<u32> = 5..=20;
/// How long the client waits that repeats a call later.
const REPEAT_AFTER: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(15));

/// One call of the API, which is made again until it is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// When it is made, counted from the start of the load.
    pub(super) at: Duration,
    pub(super) requests: Vec<Request>,
    /// Whether it goes to the API for batches.
    pub(super) batch: bool,
    /// Which web service it goes to first.
    pub(super) web: usize,
    pub(super) repeat: Repeat,
    /// Whether the other web service is asked for the requests as soon as they are accepted.
    pub(super) checked: bool,
}

/// Whether a call is made a second time, with the same keys, at the other web service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Never,
    /// At the same time.
    AtOnce,
    /// That long after it was accepted.
    After(Duration),
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// Requests are numbered from 0 on.
    pub(super) number: usize,
    pub(super) work: Work,
    pub(super) callback: Callback,
    /// Whether it has an `expiresIn`, which is longer than any soak.
    pub(super) expires: bool,
}

/// What the processor is to do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Work {
    /// It fails so many times, and then gives its data back after this time.
    Succeed { time: Duration, failures: i64 },
    /// It fails for good.
    Reject,
    /// It fails in each attempt.
    Fail,
}

/// What is wanted and made of a request's callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Callback {
    None,
    /// The receiver takes it.
    Taken,
    /// The receiver fails at first, and takes it when it comes again.
    RefusedOnce,
}

/// All calls of a run, in the order of their time.
#[derive(Debug)]
pub(super) struct Plan {
    seed: u64,
    calls: u64,
    requests: usize,
    at: Duration,
    length: Duration,
}

impl Plan {
    pub(super) fn new(seed: u64, length: Duration) -> Self {
        Self { seed, calls: 0, requests: 0, at: Duration::ZERO, length }
    }
}

impl Iterator for Plan {
    type Item = Call;

    fn next(&mut self) -> Option<Call> {
        if self.at >= self.length {
            return None;
        }
        let mut random = random::stream(self.seed, self.calls);
        let batch = random.random_ratio(3, 100);
        let count = if batch { random.random_range(BATCH_LINES) } else { 1 };
        let numbers = self.requests..self.requests + count as usize;
        let call = Call {
            at: self.at,
            requests: numbers.map(|number| request(&mut random, number)).collect(),
            batch,
            web: usize::from(random.random_bool(0.5)) % WEBS,
            repeat: repeat(&mut random),
            checked: random.random_ratio(1, 8),
        };
        self.calls += 1;
        self.requests += call.requests.len();
        self.at += Duration::from_secs(1) * count / REQUESTS_PER_SECOND;
        Some(call)
    }
}

fn repeat(random: &mut ChaCha8Rng) -> Repeat {
    match random.random_range(0..100) {
        0..5 => Repeat::AtOnce,
        5..12 => Repeat::After(random::between(random, REPEAT_AFTER.0, REPEAT_AFTER.1)),
        _ => Repeat::Never,
    }
}

fn request(random: &mut ChaCha8Rng, number: usize) -> Request {
    Request {
        number,
        work: work(random),
        callback: match random.random_range(0..100) {
            0..60 => Callback::Taken,
            60..70 => Callback::RefusedOnce,
            _ => Callback::None,
        },
        expires: random.random_ratio(1, 5),
    }
}

fn work(random: &mut ChaCha8Rng) -> Work {
    let failures = match random.random_range(0..100) {
        0..80 => 0,
        80..92 => 1,
        92..95 => 2,
        95..98 => return Work::Reject,
        _ => return Work::Fail,
    };
    let (least, most) = match random.random_range(0..100) {
        0..70 => (20, 120),
        70..95 => (120, 600),
        _ => (1000, 4000),
    };
    let time = random::between(random, Duration::from_millis(least), Duration::from_millis(most));
    Work::Succeed { time, failures }
}

impl Request {
    /// Its data, as the example `faulty` takes it.
    pub(super) fn data(&self) -> Value {
        let number = self.number;
        match &self.work {
            Work::Succeed { time, failures } => {
                json!({"number": number, "sleep": format!("{}ms", time.as_millis()), "fail": failures})
            }
            Work::Reject => json!({"number": number, "permanent": self.complaint()}),
            Work::Fail => json!({"number": number, "always": self.complaint()}),
        }
    }

    /// What its error says, if it fails.
    pub(super) fn complaint(&self) -> String {
        format!("request {} fails as ordered", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_seed_gives_the_same_calls_each_time_and_another_seed_others() {
        let calls = |seed| Plan::new(seed, MINUTE).collect::<Vec<_>>();
        assert_eq!(calls(7), calls(7));
        assert_ne!(calls(7), calls(8));
    }

    #[test]
    fn requests_are_numbered_without_a_gap_and_come_at_a_steady_rate() {
        let calls: Vec<_> = Plan::new(7, MINUTE).collect();
        let numbers = calls.iter().flat_map(|call| &call.requests).map(|request| request.number);
        assert!(numbers.eq(0..calls.iter().map(|call| call.requests.len()).sum()));
        assert!(calls.is_sorted_by_key(|call| call.at));
        let count: usize = calls.iter().map(|call| call.requests.len()).sum();
        let planned = (REQUESTS_PER_SECOND * 60) as usize;
        assert!((planned..planned + 20).contains(&count), "{count}");
    }

    #[test]
    fn a_minute_has_some_of_everything() {
        let calls: Vec<_> = Plan::new(7, MINUTE).collect();
        assert!(calls.iter().any(|call| call.batch) && calls.iter().any(|call| call.checked));
        for repeat in [Repeat::Never, Repeat::AtOnce] {
            assert!(calls.iter().any(|call| call.repeat == repeat));
        }
        assert!(calls.iter().any(|call| matches!(call.repeat, Repeat::After(_))));
        let requests: Vec<_> = calls.iter().flat_map(|call| &call.requests).collect();
        for callback in [Callback::None, Callback::Taken, Callback::RefusedOnce] {
            assert!(requests.iter().any(|request| request.callback == callback));
        }
        for work in [Work::Reject, Work::Fail] {
            assert!(requests.iter().any(|request| request.work == work));
        }
    }
}
