//! Job: one execution of a request, as its worker's events describe it.

use pipeline::{
    contract::{self, JobEvent, Timestamp},
    topology::RequestType,
};

/// The longest worker name that is kept.
const MAX_WORKER_BYTES: usize = 255;
/// The longest progress message that is kept.
const MAX_MESSAGE_BYTES: usize = 1000;

/// From which delivery on two workers may have died of a request.
const SUSPECT_DELIVERY: u32 = 3;

/// The work on a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Which execution of the request this is.
    pub execution: ExecutionId,
    /// The type of the request.
    pub request_type: RequestType,
    /// The worker, `host:pid/slot`. None if a foreign worker does not tell.
    pub worker: Option<String>,
    /// When the work began, by the worker's clock; none if only progress was reported.
    pub started_at: Option<Timestamp>,
    /// The latest progress.
    pub progress: Option<Progress>,
}

/// Which execution of a request: ordered, the later one is the greater one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExecutionId {
    /// From 0, raised by each replay.
    pub run: u32,
    /// From 1, raised by each retry.
    pub attempt: u32,
    /// From 1, raised by each redelivery.
    pub delivery: u32,
}

/// The progress of a job, as the worker reports it.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// How far the work is.
    pub value: Option<contract::Progress>,
    /// A text for people.
    pub message: Option<String>,
    /// When it was reported, by the worker's clock.
    pub at: Timestamp,
}

impl Job {
    /// The job of a `request.started` event.
    pub(crate) fn started(event: &JobEvent) -> Self {
        Self { started_at: Some(event.at), ..Self::of(event) }
    }

    /// The job of a `request.progress` event.
    pub(crate) fn in_progress(event: &JobEvent) -> Self {
        let progress = Progress {
            value: event.progress,
            message: event.message.as_deref().map(|text| truncated(text, MAX_MESSAGE_BYTES)),
            at: event.at,
        };
        Self { progress: Some(progress), ..Self::of(event) }
    }

    /// Whether both are the same execution by the same worker, whatever their progress.
    pub fn is_same_work(&self, other: &Self) -> bool {
        (self.execution, &self.worker, self.started_at)
            == (other.execution, &other.worker, other.started_at)
    }

    /// Whether it was delivered so often that two workers may have died of it. If so, it runs alone in its process.
    pub fn is_suspect(&self) -> bool {
        self.execution.delivery >= SUSPECT_DELIVERY
    }

    fn of(event: &JobEvent) -> Self {
        Self {
            execution: ExecutionId::of(event),
            request_type: event.request_type.clone(),
            worker: worker(event),
            started_at: None,
            progress: None,
        }
    }
}

impl ExecutionId {
    /// The execution that an event is about.
    pub fn of(event: &JobEvent) -> Self {
        Self {
            run: clamped(event.run),
            attempt: clamped(event.attempt).max(1),
            delivery: clamped(event.delivery).max(1),
        }
    }
}

/// A number from a message, clamped to our range.
fn clamped(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

/// The worker that an event names.
pub(crate) fn worker(event: &JobEvent) -> Option<String> {
    Some(truncated(&event.worker, MAX_WORKER_BYTES)).filter(|worker| !worker.is_empty())
}

/// The beginning of a text, at most `max_bytes` long.
pub(crate) fn truncated(text: &str, max_bytes: usize) -> String {
    text[..text.floor_char_boundary(max_bytes)].to_owned()
}
