//! Progress of the work on a request: a fraction from 0 to 1, or so many of so many.

use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};

use crate::contract::json::object;

/// How far the work is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Progress {
    /// A fraction from 0 to 1.
    Fraction(f64),
    /// So many of so many.
    Count(ProgressCount),
}

/// `done` of `total`, and no more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressCount {
    /// How many are done.
    pub done: u64,
    /// How many there are, at least one.
    pub total: u64,
}

/// A report of the work on its progress: `{"progress":0.4,"message":"page 4 of 10"}`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct ProgressReport {
    /// How far the work is. What has another unit is left out.
    #[serde(default, deserialize_with = "lenient")]
    pub progress: Option<Progress>,
    /// A description, for people.
    #[serde(default)]
    pub message: Option<String>,
}

impl ProgressReport {
    /// Reads a report; none if it says nothing.
    pub fn parse(json: &[u8]) -> Option<Self> {
        let report: Self = object(json).ok()?;
        (report.progress.is_some() || report.message.is_some()).then_some(report)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Wire {
    Fraction(f64),
    Count(ProgressCount),
    Other(IgnoredAny),
}

impl Progress {
    /// How far the work is, from 0 to 1.
    pub fn fraction(self) -> f64 {
        match self {
            Self::Fraction(fraction) => fraction,
            Self::Count(ProgressCount { done, total }) => done as f64 / total as f64,
        }
    }

    /// What was counted, if the worker counts.
    pub fn count(self) -> Option<ProgressCount> {
        match self {
            Self::Fraction(_) => None,
            Self::Count(count) => Some(count),
        }
    }

    fn is_valid(self) -> bool {
        match self {
            Self::Fraction(fraction) => (0.0..=1.0).contains(&fraction),
            Self::Count(ProgressCount { done, total }) => done <= total && total > 0,
        }
    }
}

impl From<f64> for Progress {
    /// The fraction, at least 0 and at most 1.
    fn from(fraction: f64) -> Self {
        Self::Fraction(if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) })
    }
}

impl From<(u64, u64)> for Progress {
    /// So many of so many; never more than all.
    fn from((done, total): (u64, u64)) -> Self {
        let total = total.max(1);
        Self::Count(ProgressCount { done: done.min(total), total })
    }
}

/// Reads progress; none if it is anything else. The rest of an event counts all the same.
pub(super) fn lenient<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Progress>, D::Error> {
    let progress = match Wire::deserialize(from)? {
        Wire::Fraction(fraction) => Some(Progress::Fraction(fraction)),
        Wire::Count(count) => Some(Progress::Count(count)),
        Wire::Other(IgnoredAny) => None,
    };
    Ok(progress.filter(|progress| progress.is_valid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<Progress> {
        lenient(&mut serde_json::Deserializer::from_str(json)).unwrap()
    }

    #[test]
    fn progress_is_a_fraction_or_a_part_of_a_whole() {
        for (json, fraction) in [
            ("0", 0.0),
            ("0.25", 0.25),
            ("1", 1.0),
            (r#"{"done":0,"total":8}"#, 0.0),
            (r#"{"done":2,"total":8,"unit":"pages"}"#, 0.25),
        ] {
            let progress = read(json).unwrap();
            assert!((progress.fraction() - fraction).abs() < 1e-9, "{json}");
            assert_eq!(progress.count().is_some(), json.starts_with('{'), "{json}");
        }
    }

    #[test]
    fn a_report_says_something() {
        let report = |json: &str| ProgressReport::parse(json.as_bytes());
        let half = report(r#"{"progress":0.5,"message":"half","at":1}"#).unwrap();
        assert_eq!(half.progress, Some(Progress::Fraction(0.5)));
        assert_eq!(half.message.as_deref(), Some("half"));
        assert!(report(r#"{"progress":{"done":1,"total":2}}"#).is_some());
        let wrong = report(r#"{"progress":50,"message":"half"}"#).unwrap();
        assert_eq!(wrong.progress, None);
        for nothing in ["", "{}", "0.5", "[]", r#"{"progress":50}"#, r#"{"message":1}"#, "{half"] {
            assert_eq!(report(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn numbers_become_progress_within_its_bounds() {
        let fraction = |number: f64| Progress::from(number).fraction();
        assert_eq!([-1.0, 0.25, 7.0, f64::NAN].map(fraction), [0.0, 0.25, 1.0, 0.0]);
        let counted = [(3, 4), (5, 4), (0, 0)].map(|(done, total)| Progress::from((done, total)));
        assert_eq!(counted.map(Progress::fraction), [0.75, 1.0, 0.0]);
    }

    #[test]
    fn what_has_another_unit_is_no_progress() {
        for json in [
            "1.01",
            "-0.5",
            "37",
            "null",
            "\"0.5\"",
            "[1]",
            r#"{"done":3,"total":2}"#,
            r#"{"done":0,"total":0}"#,
            r#"{"done":-1,"total":2}"#,
            r#"{"done":1.5,"total":2}"#,
            r#"{"done":1}"#,
        ] {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
