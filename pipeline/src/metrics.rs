//! Metrics of a program, in the text format of Prometheus.
//!
//! Names begin with `slowlane_`, units are base units, and no label has an id or the name of a worker: the number of time
//! series stays small. docs/metrics.md lists them.

use prometheus_client::{
    encoding::prometheus_text,
    metrics::{
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
        info::Info,
    },
    registry::Registry,
};

/// The media type of what [`encode`] returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One label with its value.
pub type Label = [(&'static str, String); 1];

/// Histograms of durations in seconds, one for each value of a label.
pub type Durations = Family<Label, Histogram, Buckets>;

/// Which durations a histogram tells apart.
#[derive(Debug, Clone, Copy)]
pub enum Buckets {
    /// From half a millisecond to 8 seconds: what a program waits for.
    Waits,
    /// From 5 milliseconds to about 11 hours: what people wait for.
    Work,
}

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        let (first, factor, count) = match self {
            Self::Waits => (0.0005, 2.0, 15),
            Self::Work => (0.005, 3.0, 15),
        };
        Histogram::new((0..count).map(|power| first * f64::powi(factor, power)))
    }
}

/// A registry with `slowlane_build_info`.
pub fn registry(program: &str) -> Registry {
    let mut registry = Registry::with_prefix("slowlane");
    let build = Info::new([("program", program.to_owned()), ("version", version())]);
    registry.register("build", "The program and its version", build);
    registry
}

/// The metrics as text.
pub fn encode(registry: &Registry) -> String {
    let mut text = String::new();
    prometheus_text::encode(&mut text, registry).expect("writing to a string does not fail");
    text
}

/// A label set of one label.
pub fn label(name: &'static str, value: impl Into<String>) -> Label {
    [(name, value.into())]
}

/// Sets a gauge to a number of things.
pub fn set(gauge: &Gauge, number: usize) {
    gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
}

fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_written_with_their_prefix_and_type() {
        let mut registry = registry("a-program");
        let waits = Durations::new_with_constructor(Buckets::Waits);
        registry.register("wait_seconds", "How long", waits.clone());
        waits.get_or_create(&label("of", "x")).observe(1.0);
        let text = encode(&registry);
        let build = "slowlane_build_info{program=\"a-program\",version=";
        for expected in [
            build,
            "# TYPE slowlane_wait_seconds histogram",
            "slowlane_wait_seconds_count{of=\"x\"} 1",
            "slowlane_wait_seconds_bucket{of=\"x\",le=\"0.512\"} 0",
            "slowlane_wait_seconds_bucket{of=\"x\",le=\"1.024\"} 1",
            "le=\"8.192\"",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }
}
