//! Statistics: how many requests were accepted and have ended over time, and how many there are now.

use std::{collections::BTreeMap, time::Duration};

use pipeline::contract::Timestamp;

/// How long the counts of minutes are kept; then they are added to those of hours.
pub(crate) const MINUTES_RETENTION: Duration = Duration::from_secs(26 * 60 * 60);
/// How long the counts of hours are kept.
pub(crate) const HOURS_RETENTION: Duration = Duration::from_secs(31 * 24 * 60 * 60);

const MINUTE_MILLIS: i64 = 60_000;
pub(crate) const HOUR_MINUTES: i64 = 60;

/// How far statistics look back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatsRange {
    /// An hour, by minutes.
    Hour,
    /// A day, by quarters of an hour.
    Day,
    /// A week, by hours.
    Week,
}

/// What happened in some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Requests that were accepted.
    pub accepted: u64,
    /// Requests that ended with a result.
    pub completed: u64,
    /// Requests that ended with an error.
    pub failed: u64,
    /// Attempts that failed and were followed by another one.
    pub retried: u64,
    /// Requests that were cancelled.
    pub cancelled: u64,
}

/// A part of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// When it begins.
    pub at: Timestamp,
    /// What happened in it.
    pub counts: Counts,
}

/// How many requests there are with each status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// They have not ended.
    pub queued: u64,
    /// They have ended with a result.
    pub completed: u64,
    /// They have ended with an error.
    pub failed: u64,
    /// They were cancelled.
    pub cancelled: u64,
}

/// Statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// When they were read, by the store's clock.
    pub at: Timestamp,
    /// All parts of the range, the earliest first. The last one is not over.
    pub buckets: Vec<Bucket>,
    /// How many requests there are now, by type.
    pub totals: BTreeMap<String, Totals>,
}

/// What to read for statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatsQuery {
    pub(crate) range: StatsRange,
    /// Only requests of this type.
    pub(crate) kind: Option<String>,
}

impl StatsRange {
    /// How long a part of it is.
    pub fn bucket(self) -> Duration {
        Duration::from_secs(60 * self.bucket_minutes().unsigned_abs())
    }

    pub(crate) fn bucket_minutes(self) -> i64 {
        match self {
            Self::Hour => 1,
            Self::Day => 15,
            Self::Week => HOUR_MINUTES,
        }
    }

    fn buckets(self) -> i64 {
        match self {
            Self::Hour => 60,
            Self::Day => 4 * 24,
            Self::Week => 7 * 24,
        }
    }

    /// The number of its first part, counted from 1970.
    pub(crate) fn first_bucket(self, now: Timestamp) -> i64 {
        minute(now) / self.bucket_minutes() - self.buckets() + 1
    }

    /// All its parts, out of those in which something happened.
    pub(crate) fn fill(self, now: Timestamp, counted: &BTreeMap<i64, Counts>) -> Vec<Bucket> {
        let first = self.first_bucket(now);
        let bucket = |number: i64| Bucket {
            at: Timestamp::from_millis(number * self.bucket_minutes() * MINUTE_MILLIS),
            counts: counted.get(&number).copied().unwrap_or_default(),
        };
        (first..first + self.buckets()).map(bucket).collect()
    }
}

impl Counts {
    /// Adds others.
    pub(crate) fn add(&mut self, others: Self) {
        self.accepted += others.accepted;
        self.completed += others.completed;
        self.failed += others.failed;
        self.retried += others.retried;
        self.cancelled += others.cancelled;
    }
}

/// The minute of a time, counted from 1970.
pub(crate) fn minute(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(MINUTE_MILLIS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_of_a_range_are_told() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let one = Counts { accepted: 1, ..Counts::default() };
        for (range, seconds, count) in
            [(StatsRange::Hour, 60, 60), (StatsRange::Day, 900, 96), (StatsRange::Week, 3600, 168)]
        {
            let bucket = Duration::from_secs(seconds);
            assert_eq!(range.bucket(), bucket);
            let last = range.first_bucket(now) + count - 1;
            let buckets = range.fill(now, &BTreeMap::from([(last, one), (last - count, one)]));
            assert_eq!(buckets.len() as i64, count);
            let accepted: Vec<u64> = buckets.iter().map(|it| it.counts.accepted).collect();
            assert_eq!((accepted[buckets.len() - 1], accepted.iter().sum::<u64>()), (1, 1));
            let newest = buckets[buckets.len() - 1].at;
            assert!(newest <= now && now < newest + bucket, "{range:?}");
            assert!(
                buckets.is_sorted_by_key(|it| it.at) && buckets[0].at + bucket == buckets[1].at
            );
        }
    }
}
