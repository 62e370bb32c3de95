//! Worker watch: tells whether anybody consumes the requests that wait.

use pipeline::{
    broker::CountedQueues,
    health::{Part, QueueCounts},
    log_messages::{NO_WORKER, WORKERS_BACK},
    topology::REQUESTS,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How many counts in a row without workers are told of. One alone may be the restart of a worker.
const COUNTS: usize = 2;

/// Watches the queue of requests and its consumers. Clones share what was counted.
#[derive(Clone)]
pub(crate) struct WorkerWatch(watch::Receiver<CountedQueues>);

impl WorkerWatch {
    /// Watches what is counted.
    pub(crate) fn new(counted: watch::Receiver<CountedQueues>) -> Self {
        Self(counted)
    }

    /// The workers as a part of the service's readiness. It is never missing: requests can be accepted without workers.
    pub(crate) fn part(&self) -> Part {
        match self.0.borrow().of(REQUESTS) {
            Ok(counts) => Part { queue: Some(counts), ..Part::ok(sentence(counts)) },
            Err(reason) => Part::ok(format!("how many there are is not known: {reason}")),
        }
    }

    /// What was counted last, if it is known.
    pub(crate) fn counts(&self) -> Option<QueueCounts> {
        self.0.borrow().of(REQUESTS).ok()
    }

    /// Logs when requests begin to wait without a worker, and when that is over, until told to stop.
    pub(crate) async fn log_changes(self, stop: CancellationToken) {
        let (mut counted, mut idle, mut is_told) = (self.0, 0, false);
        while let Some(Ok(())) = stop.run_until_cancelled(counted.changed()).await {
            let counts = counted.borrow_and_update().of(REQUESTS).ok();
            let Some(QueueCounts { waiting, consumers }) = counts else { continue };
            idle = if waiting > 0 && consumers == 0 { idle + 1 } else { 0 };
            match idle {
                COUNTS if !is_told => warn!(waiting, "{NO_WORKER}"),
                0 if is_told => info!(consumers, waiting, "{WORKERS_BACK}"),
                _ => continue,
            }
            is_told = !is_told;
        }
        stop.cancelled().await;
    }
}

fn sentence(QueueCounts { waiting, consumers }: QueueCounts) -> String {
    let of = |count: u32, one: &str, many: &str| match count {
        0 => format!("no {one}"),
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    };
    let workers = of(consumers, "worker consumes", "workers consume");
    let requests = of(waiting, "request waits", "requests wait");
    match (waiting, consumers) {
        (1.., 0) => format!("{requests}, and {workers}: start processor-service"),
        _ => format!("{workers}, {requests}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_wait_for_nobody_are_told_of_first() {
        let of = |waiting, consumers| sentence(QueueCounts { waiting, consumers });
        assert_eq!(of(3, 0), "3 requests wait, and no worker consumes: start processor-service");
        assert_eq!(of(0, 0), "no worker consumes, no request waits");
        assert_eq!(of(1, 2), "2 workers consume, 1 request waits");
    }
}
