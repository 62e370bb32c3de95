//! A figure: the value and the floor of each round, their ratio, and its threshold.

use std::time::Duration;

use serde_json::{Value, json};

/// The unit of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    PerSecond,
    Seconds,
    Bytes,
}

/// The limit of the ratio to the floor, or of the value if there is no floor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Threshold {
    AtLeast(f64),
    AtMost(f64),
}

/// The value and the floor of a round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) value: f64,
    pub(super) floor: Option<f64>,
}

/// What was measured in all rounds.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) unit: Unit,
    pub(super) threshold: Option<Threshold>,
    pub(super) samples: Vec<Sample>,
    /// Other numbers of each round that help to explain the value, by name.
    pub(super) notes: Vec<(&'static str, Vec<f64>)>,
}

impl Figure {
    pub(super) fn new(name: impl Into<String>, unit: Unit, threshold: Option<Threshold>) -> Self {
        Self { name: name.into(), unit, threshold, samples: Vec::new(), notes: Vec::new() }
    }

    /// Adds a round with its floor.
    pub(super) fn add(&mut self, value: f64, floor: f64) {
        self.samples.push(Sample { value, floor: Some(floor) });
    }

    /// Adds a round without a floor.
    pub(super) fn add_without_floor(&mut self, value: f64) {
        self.samples.push(Sample { value, floor: None });
    }

    /// Adds a note to a round, if its number is known.
    pub(super) fn note(&mut self, name: &'static str, number: Option<f64>) {
        let Some(number) = number else { return };
        match self.notes.iter_mut().find(|(known, _)| *known == name) {
            Some((_, numbers)) => numbers.push(number),
            None => self.notes.push((name, vec![number])),
        }
    }

    pub(super) fn value(&self) -> f64 {
        median(self.samples.iter().map(|sample| sample.value))
    }

    pub(super) fn floor(&self) -> Option<f64> {
        let floors: Option<Vec<f64>> = self.samples.iter().map(|sample| sample.floor).collect();
        floors.map(|floors| median(floors.into_iter()))
    }

    /// The ratio of each round's value to its floor; empty without floors.
    pub(super) fn ratios(&self) -> Vec<f64> {
        let ratio = |sample: &Sample| Some(sample.value / sample.floor?);
        self.samples.iter().filter_map(ratio).collect()
    }

    /// The median of the ratios; `None` without floors.
    pub(super) fn ratio(&self) -> Option<f64> {
        let ratios = self.ratios();
        (!ratios.is_empty()).then(|| median(ratios.into_iter()))
    }

    /// Whether the figure keeps its threshold; `None` if it has none.
    pub(super) fn holds(&self) -> Option<bool> {
        let compared = self.ratio().unwrap_or_else(|| self.value());
        Some(match self.threshold? {
            Threshold::AtLeast(worst) => compared >= worst,
            Threshold::AtMost(worst) => compared <= worst,
        })
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "name": self.name,
            "unit": self.unit.name(),
            "value": self.value(),
            "floor": self.floor(),
            "ratio": self.ratio(),
            "atLeast": match self.threshold { Some(Threshold::AtLeast(worst)) => Some(worst), _ => None },
            "atMost": match self.threshold { Some(Threshold::AtMost(worst)) => Some(worst), _ => None },
            "holds": self.holds(),
            "values": self.samples.iter().map(|sample| sample.value).collect::<Vec<_>>(),
            "floors": self.samples.iter().map(|sample| sample.floor).collect::<Vec<_>>(),
            "ratios": self.ratios(),
            "beside": self.notes.iter().map(|(name, all)| (*name, all)).collect::<std::collections::BTreeMap<_, _>>(),
        })
    }
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "1/s",
            Self::Seconds => "s",
            Self::Bytes => "bytes",
        }
    }

    /// A value for people.
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::PerSecond if value >= 10_000.0 => format!("{:.1} k/s", value / 1000.0),
            Self::PerSecond => format!("{value:.0} /s"),
            Self::Seconds => format!("{:.2} ms", value * 1000.0),
            Self::Bytes if value >= 1024.0 * 1024.0 => {
                format!("{:.1} MiB", value / 1024.0 / 1024.0)
            }
            Self::Bytes if value >= 2048.0 => format!("{:.1} KiB", value / 1024.0),
            Self::Bytes => format!("{value:.0} B"),
        }
    }
}

/// The median; of an even number, the mean of the two in the middle.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => f64::NAN,
    }
}

/// The value that the share `part` of all values does not exceed.
pub(super) fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let at = (last as f64 * part).round() as usize;
    values.get(at.min(last)).copied().unwrap_or(f64::NAN)
}

/// The same for durations, in seconds.
pub(super) fn quantile_of(times: &[Duration], part: f64) -> f64 {
    quantile(times.iter().map(Duration::as_secs_f64).collect(), part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(threshold: Threshold, samples: &[(f64, f64)]) -> Figure {
        let mut figure = Figure::new("", Unit::PerSecond, Some(threshold));
        samples.iter().for_each(|(value, floor)| figure.add(*value, *floor));
        figure
    }

    #[test]
    fn the_median_of_two_is_between_them() {
        assert_eq!(median([3.0, 1.0].into_iter()), 2.0);
        assert_eq!(median([3.0, 9.0, 1.0].into_iter()), 3.0);
        assert!(median([].into_iter()).is_nan());
    }

    #[test]
    fn each_round_is_compared_with_its_own_floor() {
        let rounds = [(50.0, 100.0), (10.0, 20.0), (30.0, 100.0)];
        let figure = figure(Threshold::AtLeast(0.5), &rounds);
        assert_eq!(figure.ratios(), [0.5, 0.5, 0.3]);
        assert_eq!((figure.value(), figure.floor()), (30.0, Some(100.0)));
        assert_eq!(figure.holds(), Some(true));
    }

    #[test]
    fn a_figure_beyond_its_threshold_does_not_hold() {
        assert_eq!(figure(Threshold::AtLeast(0.5), &[(49.0, 100.0)]).holds(), Some(false));
        assert_eq!(figure(Threshold::AtMost(1.2), &[(121.0, 100.0)]).holds(), Some(false));
        assert_eq!(figure(Threshold::AtMost(1.2), &[(119.0, 100.0)]).holds(), Some(true));
        let mut figure = Figure::new("", Unit::Bytes, Some(Threshold::AtMost(20.0)));
        figure.add_without_floor(21.0);
        assert_eq!(figure.holds(), Some(false));
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!((quantile(values.clone(), 0.5), quantile(values, 0.99)), (50.0, 99.0));
        assert!(median(std::iter::empty()).is_nan());
    }
}
