//! Overview: how many requests are open, wait for a retry, or have failed, and how many came and ended lately.

use std::time::Duration;

use pipeline::contract::Timestamp;
use uuid::Uuid;

use crate::model::id_time::first_id;

/// No count goes beyond this, so that it costs little however many requests there are. It stands in the statement, too.
pub const COUNT_LIMIT: u32 = 10_000;

/// How far back a rate looks,
const RATE_WINDOW: Duration = Duration::from_secs(60);
/// and at how many requests at most. It stands in the statement, too.
const RATE_LIMIT: u32 = 1000;
/// How far ids of requests that were just accepted may be in the future, by the clock of another host. Ids beyond that
/// are not of this kind: they say nothing of a time.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(3600);

/// The requests in a store, at one moment. A count of [`COUNT_LIMIT`] stands for that many or more.
#[derive(Debug, Clone, PartialEq)]
pub struct Overview {
    /// The requests that have not ended.
    pub open: u32,
    /// Those of them that wait for their next attempt.
    pub retrying: u32,
    /// The requests that have failed.
    pub failed: u32,
    /// The open request that was submitted first.
    pub oldest: Option<OldestRequest>,
    /// How many were accepted a second, in the last minute.
    pub accepted_per_second: f64,
    /// How many ended a second, in the last minute.
    pub ended_per_second: f64,
}

/// The open request that was submitted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldestRequest {
    /// Its id.
    pub id: Uuid,
    /// When it was accepted; none if that is not known.
    pub accepted_at: Option<Timestamp>,
}

/// The moments that an overview is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OverviewTimes {
    pub(crate) now: Timestamp,
}

/// How many requests lie within the window of a rate, [`RATE_LIMIT`] at most; and if it is that many, the time of the
/// earliest of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lately {
    pub(crate) count: u32,
    pub(crate) earliest: Option<Timestamp>,
}

/// The count of so many requests.
pub(crate) fn limited(count: i64) -> u32 {
    u32::try_from(count.max(0)).unwrap_or(COUNT_LIMIT).min(COUNT_LIMIT)
}

impl OverviewTimes {
    /// What ended after this counts for the rate.
    pub(crate) fn ended_after(self) -> Timestamp {
        self.now - RATE_WINDOW
    }

    /// Ids that were made in the window of the rate lie between these.
    pub(crate) fn accepted_between(self) -> [Uuid; 2] {
        [self.now - RATE_WINDOW, self.now + MAX_CLOCK_SKEW].map(first_id)
    }
}

impl Lately {
    /// How many a second these are.
    pub(crate) fn per_second(self, now: Timestamp) -> f64 {
        let time = match self.earliest {
            Some(earliest) if self.count >= RATE_LIMIT => now.saturating_duration_since(earliest),
            _ => RATE_WINDOW,
        };
        f64::from(self.count) / time.as_secs_f64().max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_minute_or_of_the_last_thousand() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let rate = |count, earliest: Option<Duration>| {
            Lately { count, earliest: earliest.map(|before| now - before) }.per_second(now)
        };
        assert!((rate(30, None) - 0.5).abs() < 1e-9);
        assert!((rate(RATE_LIMIT, Some(Duration::from_secs(4))) - 250.0).abs() < 1e-9);
        assert!(rate(RATE_LIMIT, Some(Duration::ZERO)).is_finite());
    }

    #[test]
    fn new_ids_are_in_the_window_of_the_rate() {
        let id = Uuid::now_v7();
        let times = OverviewTimes { now: Timestamp::now() };
        let [after, until] = times.accepted_between();
        assert!(after < id && id < until && Uuid::max() > until);
    }
}
