//! Store metrics: how long operations take.

use std::time::Duration;

use pipeline::metrics::{Buckets, Durations, label};
use prometheus_client::{metrics::histogram::Histogram, registry::Registry};

/// How long operations take, by which queue they go through. Clones are the same histograms.
#[derive(Clone)]
pub(crate) struct StoreMetrics {
    durations: Durations,
    /// Accepting requests.
    pub(crate) accept: Histogram,
    /// Other writes for which a client waits.
    pub(crate) write: Histogram,
    /// Writes for which no client waits, such as results.
    pub(crate) background: Histogram,
    /// Reads.
    pub(crate) read: Histogram,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        let durations = Durations::new_with_constructor(Buckets::Waits);
        let of = |operation| durations.get_or_create_owned(&label("operation", operation));
        let (accept, write, background, read) =
            (of("accept"), of("write"), of("background"), of("read"));
        Self { durations, accept, write, background, read }
    }
}

impl StoreMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "From the call to the answer of the store, with the wait for others' operations";
        registry.register("store_operation_duration_seconds", help, self.durations.clone());
    }
}

/// Observes how long an operation has taken.
pub(crate) fn observe(histogram: &Histogram, took: Duration) {
    histogram.observe(took.as_secs_f64());
}
