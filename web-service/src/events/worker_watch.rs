//! Worker watch: tells whether anybody consumes the requests that wait, of each type.

use std::collections::HashMap;

use pipeline::{
    broker::{CountedQueues, NotCounted},
    health::{Part, QueueCounts},
    log_messages::{NO_WORKER, WORKERS_BACK},
    topology::{RequestType, RequestTypes},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How many counts in a row without workers are told of. One alone may be the restart of a worker.
const COUNTS: usize = 2;

/// Watches the queues of requests and their consumers. Clones share what was counted.
#[derive(Clone)]
pub(crate) struct WorkerWatch {
    counted: watch::Receiver<CountedQueues>,
    types: RequestTypes,
}

impl WorkerWatch {
    /// Watches what is counted of requests of these types.
    pub(crate) fn new(counted: watch::Receiver<CountedQueues>, types: RequestTypes) -> Self {
        Self { counted, types }
    }

    /// The workers as a part of the service's readiness. It is never missing: requests can be accepted without workers.
    pub(crate) fn part(&self) -> Part {
        match self.of_each_type() {
            Ok(counts) => {
                Part { queue: Some(total(&counts)), ..Part::ok(sentences(&counts, &self.types)) }
            }
            Err(reason) => Part::ok(format!("how many there are is not known: {reason}")),
        }
    }

    /// What was counted last of all types together, if it is known of each.
    pub(crate) fn counts(&self) -> Option<QueueCounts> {
        self.of_each_type().ok().map(|counts| total(&counts))
    }

    /// What was counted last of this type, if it is known.
    pub(crate) fn counts_of(&self, request_type: &RequestType) -> Option<QueueCounts> {
        self.counted.borrow().of(&request_type.queue()).ok()
    }

    fn of_each_type(&self) -> Result<Vec<(RequestType, QueueCounts)>, NotCounted> {
        let counted = self.counted.borrow();
        let of = |it: &RequestType| Ok((it.clone(), counted.of(&it.queue())?));
        self.types.iter().map(of).collect()
    }

    /// Logs when requests of a type begin to wait without a worker, and when that is over, until told to stop.
    pub(crate) async fn log_changes(mut self, stop: CancellationToken) {
        let mut idle: HashMap<RequestType, Idle> = HashMap::new();
        while let Some(Ok(())) = stop.run_until_cancelled(self.counted.changed()).await {
            self.counted.mark_unchanged();
            for of_type in self.types.iter() {
                let Some(counts) = self.counts_of(of_type) else { continue };
                // Where there is one queue alone, nobody need be told which.
                let queue = self.types.only().is_none().then(|| of_type.queue());
                idle.entry(of_type.clone()).or_default().note(counts, queue);
            }
        }
        stop.cancelled().await;
    }
}

/// For how long the requests of a type have waited without a worker.
#[derive(Default)]
struct Idle {
    counts: usize,
    is_told: bool,
}

impl Idle {
    fn note(&mut self, QueueCounts { waiting, consumers }: QueueCounts, queue: Option<String>) {
        self.counts = if waiting > 0 && consumers == 0 { self.counts + 1 } else { 0 };
        match self.counts {
            COUNTS if !self.is_told => warn!(queue, waiting, "{NO_WORKER}"),
            0 if self.is_told => info!(queue, consumers, waiting, "{WORKERS_BACK}"),
            _ => return,
        }
        self.is_told = !self.is_told;
    }
}

fn total(counts: &[(RequestType, QueueCounts)]) -> QueueCounts {
    let sum = |of: fn(&QueueCounts) -> u32| {
        counts.iter().fold(0, |sum: u32, (_, counts)| sum.saturating_add(of(counts)))
    };
    QueueCounts { waiting: sum(|it| it.waiting), consumers: sum(|it| it.consumers) }
}

/// Workers and requests: in one sentence if there is one type alone, or else with each type whose requests wait for nobody,
/// and how many types have no worker.
fn sentences(counts: &[(RequestType, QueueCounts)], types: &RequestTypes) -> String {
    if types.only().is_some() {
        return sentence(total(counts), "");
    }
    let (without, with): (Vec<_>, Vec<_>) =
        counts.iter().cloned().partition(|(_, counts)| counts.consumers == 0);
    let (waiting, idle): (Vec<_>, Vec<_>) =
        without.into_iter().partition(|(_, counts)| counts.waiting > 0);
    let waiting = waiting.into_iter().map(|(of_type, counts)| {
        let with = format!(" with TYPES={of_type}");
        format!("type {of_type}: {}", sentence(counts, &with))
    });
    let served = (!with.is_empty()).then(|| sentence(total(&with), ""));
    let idle: Vec<_> = idle.iter().map(|(of_type, _)| of_type.as_str()).collect();
    let idle = (!idle.is_empty()).then(|| format!("no worker consumes {}", idle.join(", ")));
    waiting.chain(served).chain(idle).collect::<Vec<_>>().join("; ")
}

fn sentence(QueueCounts { waiting, consumers }: QueueCounts, with: &str) -> String {
    let of = |count: u32, one: &str, many: &str| match count {
        0 => format!("no {one}"),
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    };
    let workers = of(consumers, "worker consumes", "workers consume");
    let requests = of(waiting, "request waits", "requests wait");
    match (waiting, consumers) {
        (1.., 0) => format!("{requests}, and {workers}: start processor-service{with}"),
        _ => format!("{workers}, {requests}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of these types, with what waits and who consumes.
    fn told(of: &[(&str, u32, u32)]) -> String {
        let counts = of.iter().map(|&(name, waiting, consumers)| {
            (name.parse().unwrap(), QueueCounts { waiting, consumers })
        });
        let counts: Vec<(RequestType, _)> = counts.collect();
        let types = RequestTypes::new(counts.iter().map(|(it, _)| it.clone())).unwrap();
        sentences(&counts, &types)
    }

    #[test]
    fn requests_that_wait_for_nobody_are_told_of_first() {
        let of = |waiting, consumers| told(&[("default", waiting, consumers)]);
        assert_eq!(of(3, 0), "3 requests wait, and no worker consumes: start processor-service");
        assert_eq!(of(0, 0), "no worker consumes, no request waits");
        assert_eq!(of(1, 2), "2 workers consume, 1 request waits");
    }

    #[test]
    fn each_type_that_nobody_consumes_is_named() {
        let served = [("default", 1, 2), ("video", 3, 1)];
        assert_eq!(told(&served), "3 workers consume, 4 requests wait");
        let idle = [("default", 1, 2), ("video", 3, 0), ("audio", 0, 0), ("text", 0, 0)];
        assert_eq!(
            told(&idle),
            "type video: 3 requests wait, and no worker consumes: start processor-service with TYPES=video; \
             2 workers consume, 1 request waits; no worker consumes audio, text"
        );
        assert_eq!(told(&[("a", 0, 0), ("b", 0, 0)]), "no worker consumes a, b");
    }
}
