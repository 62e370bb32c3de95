//! Metrics: what a processor counts and measures.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, SystemTime},
};

use pipeline::{
    broker::Broker,
    metrics::{self, Buckets, set},
    topology::{RequestType, RequestTypes},
};
use prometheus_client::{
    metrics::{family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::decisions::outcome::JobOutcome;

/// How long jobs took, by their type and outcome.
type JobDurations = Family<[(&'static str, String); 2], Histogram, Buckets>;

/// What a processor counts and measures. Clones are the same counters.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    in_progress: Arc<[(RequestType, Gauge)]>,
    durations: JobDurations,
    last_delivery: Gauge<f64, AtomicU64>,
    host_fault: Gauge,
    work_blocked: Gauge,
}

impl Metrics {
    /// Nothing is counted yet, of requests of these types. Includes the metrics of the broker's connections.
    pub(crate) fn new(program: &str, broker: &Broker, types: &RequestTypes) -> Self {
        let mut registry = metrics::registry(program);
        broker.register_metrics(&mut registry);
        let in_progress = Family::<metrics::Label, Gauge>::default();
        let durations = JobDurations::new_with_constructor(Buckets::Work);
        let last_delivery = Gauge::<f64, AtomicU64>::default();
        let help = "Requests that are being worked on here";
        registry.register("jobs_in_progress", help, in_progress.clone());
        let help = "How long jobs took, by their outcome";
        registry.register("job_duration_seconds", help, durations.clone());
        let help =
            "When a request was delivered here last, in seconds since 1970; 0 before the first";
        registry.register("last_delivery_timestamp_seconds", help, last_delivery.clone());
        let host_fault = Gauge::default();
        let help = "1 while no request is taken because work can't begin on this host";
        registry.register("host_fault", help, host_fault.clone());
        let work_blocked = Gauge::default();
        let help =
            "1 while jobs wait for something that they need, such as the endpoint of PROCESSOR_URL";
        registry.register("work_blocked", help, work_blocked.clone());
        let gauge = |of_type: &RequestType| {
            let label = metrics::label("type", of_type.as_str());
            (of_type.clone(), in_progress.get_or_create_owned(&label))
        };
        let in_progress = types.iter().map(gauge).collect();
        let registry = registry.into();
        Self { registry, in_progress, durations, last_delivery, host_fault, work_blocked }
    }

    /// Notes the time of a delivery.
    pub(crate) fn delivered(&self) {
        let since_1970 = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        self.last_delivery.set(since_1970.as_secs_f64());
    }

    /// Counts a job on a request of this type that took this long.
    pub(crate) fn ended(&self, of_type: &RequestType, outcome: &JobOutcome, took: Duration) {
        let labels = [("type", of_type.to_string()), ("outcome", name(outcome).to_owned())];
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// The metrics as text, while so many jobs of each type are in progress, work can or can't begin, and is or is not
    /// blocked.
    pub(crate) fn text(
        &self,
        in_progress: impl Fn(&RequestType) -> usize,
        is_faulty: bool,
        is_blocked: bool,
    ) -> String {
        self.host_fault.set(i64::from(is_faulty));
        self.work_blocked.set(i64::from(is_blocked));
        for (of_type, gauge) in &*self.in_progress {
            set(gauge, in_progress(of_type));
        }
        metrics::encode(&self.registry)
    }
}

fn name(outcome: &JobOutcome) -> &'static str {
    match outcome {
        JobOutcome::Completed(_) => "completed",
        JobOutcome::Failed(_) => "failed",
        JobOutcome::Retry(..) => "retry",
        JobOutcome::Cancelled => "cancelled",
        JobOutcome::Interrupted => "interrupted",
        JobOutcome::NotStarted(_) => "not_started",
    }
}
