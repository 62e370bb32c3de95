//! Timestamps: moments to the millisecond, in messages, in the API and in the store.

use std::{
    fmt,
    ops::{Add, Sub},
    str::FromStr,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// The last millisecond of the year 9999: RFC 3339 has no later one.
const MAX_MILLIS: i64 = 253_402_300_799_999;

/// A moment to the millisecond, from 1970 to the end of the year 9999. What lies outside becomes the
/// nearest moment inside. As text it is RFC 3339 UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text that is no RFC 3339 time in UTC.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct InvalidTimestamp(#[from] humantime::TimestampError);

impl Timestamp {
    /// The present moment, by this machine's clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// The moment so many milliseconds after the beginning of 1970 UTC.
    pub const fn from_millis(millis: i64) -> Self {
        match millis {
            ..0 => Self(0),
            0..=MAX_MILLIS => Self(millis),
            _ => Self(MAX_MILLIS),
        }
    }

    /// Milliseconds since the beginning of 1970 UTC, never negative.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// How long it is after an earlier moment; zero if that is later.
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or_default())
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(millis(duration)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_sub(millis(duration)))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl From<SystemTime> for Timestamp {
    fn from(at: SystemTime) -> Self {
        Self::from_millis(millis(at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(at: Timestamp) -> Self {
        Self::UNIX_EPOCH + Duration::from_millis(at.0.unsigned_abs())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis((*self).into()).fmt(f)
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        Ok(humantime::parse_rfc3339(text)?.into())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_the_way_as_text_and_as_a_number() {
        let at = Timestamp::from_millis(1_700_000_000_123);
        assert_eq!(at.to_string(), "2023-11-14T22:13:20.123Z");
        assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at);
        assert_eq!(Timestamp::from(SystemTime::from(at)), at);
        assert_eq!(Timestamp::from_millis(at.as_millis()), at);
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn what_text_has_no_words_for_becomes_the_nearest_moment() {
        let (first, last) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
        assert_eq!(first.to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(last.to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!((first - Duration::MAX, last + Duration::MAX), (first, last));
        assert_eq!(first.saturating_duration_since(last), Duration::ZERO);
    }
}
