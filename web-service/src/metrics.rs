//! Metrics: what the web service counts and measures.

use std::{collections::HashMap, sync::Arc};

use pipeline::{
    broker::{Broker, CountedQueues},
    contract::{Timestamp, codes},
    metrics::{self, Buckets, Durations, Label, label, set},
    topology::{RequestType, RequestTypes},
};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use uuid::Uuid;

use store::{Applied, Status, Store, WorkerResult};

/// The type of requests that are not of the service's types, and the code of errors that are not among those of the
/// contract: any worker can send any.
const OTHER: &str = "other";
/// Why results are not stored.
const DROPPED: [&str; 5] = ["superseded", "older_run", "cancelled", "expired", "foreign_id"];

/// What the web service counts and measures. Clones are the same counters.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    types: RequestTypes,
    accepted: Family<Label, Counter>,
    finished: Family<[(&'static str, String); 3], Counter>,
    duplicates: Counter,
    dropped: Family<Label, Counter>,
    queue_wait: Durations,
    duration: Durations,
    callbacks: Family<Label, Counter>,
    ready: Family<Label, Gauge>,
    consumers: Family<Label, Gauge>,
    in_hand: Family<Label, Gauge>,
    backlog: Family<Label, Gauge>,
    store_up: Gauge,
}

/// What is read when the metrics are asked for.
pub(crate) struct Present {
    /// What was counted in the queues.
    pub(crate) queues: CountedQueues,
    /// How many requests of each type are being worked on.
    pub(crate) in_hand: HashMap<RequestType, usize>,
    /// Whether the store answers.
    pub(crate) is_store_up: bool,
}

impl Metrics {
    /// Nothing is counted yet, of requests of these types. Includes the metrics of the broker's connections and the store.
    pub fn new(program: &str, broker: &Broker, store: &Store, types: &RequestTypes) -> Self {
        let mut registry = metrics::registry(program);
        broker.register_metrics(&mut registry);
        store.register_metrics(&mut registry);
        Self::in_registry(registry, types)
    }

    /// The metrics of the web service alone, added to a registry.
    pub(crate) fn in_registry(mut registry: Registry, types: &RequestTypes) -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            types: types.clone(),
            accepted: from_zero("type", types.iter().map(RequestType::as_str)),
            finished: Family::default(),
            duplicates: Counter::default(),
            dropped: from_zero("reason", DROPPED),
            queue_wait: Durations::new_with_constructor(Buckets::Work),
            duration: Durations::new_with_constructor(Buckets::Work),
            callbacks: from_zero("outcome", ["delivered", "gone", "failed"]),
            ready: Family::default(),
            consumers: Family::default(),
            in_hand: Family::default(),
            backlog: Family::default(),
            store_up: Gauge::default(),
        };
        metrics.register(&mut registry);
        metrics.registry = registry.into();
        metrics
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("requests_accepted", "Requests that got a 202", self.accepted.clone());
        let help = "Requests that have ended, by their final status and the code of their error";
        registry.register("requests_finished", help, self.finished.clone());
        let help = "Results of completed requests that were stored before";
        registry.register("results_duplicate", help, self.duplicates.clone());
        let help = "Results that were not stored, by the reason";
        registry.register("results_dropped", help, self.dropped.clone());
        let help =
            "From the POST to the start of the work, of requests that ended in their first attempt";
        registry.register("request_queue_wait_seconds", help, self.queue_wait.clone());
        let help = "From the POST to the stored result";
        registry.register("request_duration_seconds", help, self.duration.clone());
        let help = "Attempts to deliver a callback, by their outcome";
        registry.register("callbacks", help, self.callbacks.clone());
        let help = "Messages in the queue that no consumer holds; the same in every web service";
        registry.register("queue_messages_ready", help, self.ready.clone());
        let help = "Consumers of the queue; the same in every web service";
        registry.register("queue_consumers", help, self.consumers.clone());
        let help = "Requests that a worker works on; about the same in every web service";
        registry.register("requests_in_hand", help, self.in_hand.clone());
        let help =
            "Requests that wait for a worker or are worked on; about the same in every web service";
        registry.register("backlog", help, self.backlog.clone());
        registry.register("store_up", "1 while the store answers", self.store_up.clone());
    }

    /// Counts a request of this type that was accepted.
    pub(crate) fn accepted(&self, of_type: &RequestType) {
        self.accepted.get_or_create(&label("type", of_type.as_str())).inc();
    }

    /// Counts a result, by what became of it.
    pub(crate) fn applied(&self, result: &WorkerResult, applied: &Applied) {
        match applied {
            Applied::Stored | Applied::StoredWithHistory => self.finished(result),
            // A failure always comes twice: as a result, and with its request.
            Applied::Duplicate if result.outcome.status() == Status::Failed => {}
            Applied::Duplicate => drop(self.duplicates.inc()),
            Applied::Superseded => self.dropped("superseded"),
            Applied::OlderRun => self.dropped("older_run"),
            Applied::Cancelled => self.dropped("cancelled"),
            Applied::Expired => self.dropped("expired"),
            Applied::BadRow(_) => {}
        }
    }

    /// Counts a result whose id is no UUID: the request came from another program, and has no row.
    pub(crate) fn result_of_foreign_id(&self) {
        self.dropped("foreign_id");
    }

    fn dropped(&self, reason: &'static str) {
        self.dropped.get_or_create(&label("reason", reason)).inc();
    }

    /// Counts a request of this type that was cancelled, if it is known.
    pub(crate) fn cancelled(&self, of_type: Option<&str>) {
        let of_type = of_type.and_then(|name| name.parse().ok());
        self.count_end(self.name(of_type.as_ref()), Status::Cancelled, "");
    }

    /// Counts an attempt to deliver a callback.
    pub(crate) fn callback(&self, outcome: &'static str) {
        self.callbacks.get_or_create(&label("outcome", outcome)).inc();
    }

    /// The metrics as text.
    pub(crate) fn text(&self, present: &Present) -> String {
        self.store_up.set(i64::from(present.is_store_up));
        // A number that is not known any more is better missing than old.
        self.ready.clear();
        self.consumers.clear();
        self.backlog.clear();
        for (queue, counts) in present.queues.known() {
            let queue = label("queue", queue);
            self.ready.get_or_create(&queue).set(counts.waiting.into());
            self.consumers.get_or_create(&queue).set(counts.consumers.into());
        }
        for of_type in self.types.iter() {
            let kind = label("type", of_type.as_str());
            let in_hand = present.in_hand.get(of_type).copied().unwrap_or(0);
            set(&self.in_hand.get_or_create(&kind), in_hand);
            if let Ok(counts) = present.queues.of(&of_type.queue()) {
                let waiting = usize::try_from(counts.waiting).unwrap_or(usize::MAX);
                set(&self.backlog.get_or_create(&kind), waiting.saturating_add(in_hand));
            }
        }
        metrics::encode(&self.registry)
    }

    fn finished(&self, result: &WorkerResult) {
        let code = result.outcome.error().map_or("", |error| known(&error.code));
        let of_type = self.name(Some(&result.request_type));
        self.count_end(of_type, result.outcome.status(), code);
        let Some(accepted) = posted_at(result.id) else { return };
        let kind = label("type", of_type);
        let since = |at: Timestamp| at.saturating_duration_since(accepted).as_secs_f64();
        // Later attempts, and runs, have waited for their time, and for somebody who wanted them.
        let is_first = result.attempt <= 1 && result.run.unwrap_or(0) == 0;
        if let Some(started) = result.started_at.filter(|_| is_first) {
            self.queue_wait.get_or_create(&kind).observe(since(started));
        }
        self.duration.get_or_create(&kind).observe(since(Timestamp::now()));
    }

    /// The name of a type, if it is one of the service's.
    fn name<'a>(&self, of_type: Option<&'a RequestType>) -> &'a str {
        of_type.filter(|it| self.types.contains(it)).map_or(OTHER, RequestType::as_str)
    }

    fn count_end(&self, of_type: &str, status: Status, code: &str) {
        let labels = [
            ("type", of_type.to_owned()),
            ("status", status.as_str().to_owned()),
            ("code", code.to_owned()),
        ];
        self.finished.get_or_create(&labels).inc();
    }
}

/// A counter for each of these values of a label, which begins at zero: the first failure is an increase, too.
fn from_zero<'v>(
    name: &'static str,
    values: impl IntoIterator<Item = &'v str>,
) -> Family<Label, Counter> {
    let family = Family::<Label, Counter>::default();
    for value in values {
        drop(family.get_or_create(&label(name, value)));
    }
    family
}

fn known(code: &str) -> &str {
    if codes::ALL.contains(&code) { code } else { OTHER }
}

/// When a request was posted, by its id. Ids of other programs need not tell.
fn posted_at(id: Uuid) -> Option<Timestamp> {
    let (seconds, nanos) = id.get_timestamp().filter(|_| id.get_version_num() == 7)?.to_unix();
    let millis = i64::from(nanos / 1_000_000);
    let since_1970 = i64::try_from(seconds).ok()?.checked_mul(1000)?;
    Some(Timestamp::from_millis(since_1970.checked_add(millis)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_or_a_type_that_some_worker_has_made_up_makes_no_time_series() {
        assert_eq!(known("timeout"), "timeout");
        assert_eq!(known("error at 12:03:04"), OTHER);
        let types = RequestTypes::new(["video".parse().unwrap()]).unwrap();
        let metrics = Metrics::in_registry(Registry::default(), &types);
        for (of_type, name) in [("video", "video"), ("made-up", OTHER)] {
            assert_eq!(metrics.name(Some(&of_type.parse().unwrap())), name);
        }
    }

    #[test]
    fn the_time_of_a_post_is_read_from_ids_of_the_service_alone() {
        let id = Uuid::parse_str("01a1fd87-448c-755a-a380-a6f598ec5ae1").unwrap();
        assert_eq!(posted_at(id), Some(Timestamp::from_millis(0x01a1_fd87_448c)));
        assert_eq!(
            posted_at(Uuid::parse_str("9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d").unwrap()),
            None
        );
    }
}
