//! The work on a request, as a worker tells of it.

use pipeline::contract::{JobEvent, Timestamp};

/// The longest name of a worker that is kept, in bytes.
const LONGEST_NAME: usize = 255;
/// The longest message that is kept, in bytes.
const LONGEST_MESSAGE: usize = 1000;

/// The work on a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Which of all the times it is worked on.
    pub turn: Turn,
    /// Who does it: `host:pid/slot`. A foreign worker need not say.
    pub worker: Option<String>,
    /// When it began, by the worker's clock; none if only its progress was heard of.
    pub started_at: Option<Timestamp>,
    /// How far it is.
    pub progress: Option<Progress>,
}

/// Which of all the times that a request is worked on; the later is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    /// 0, and one more for each replay.
    pub run: u32,
    /// From 1.
    pub attempt: u32,
    /// From 1.
    pub delivery: u32,
}

/// How far the work is, as the worker sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// As the worker counts it.
    pub value: Option<f64>,
    /// What it says of it.
    pub message: Option<String>,
    /// When it said so, by its clock.
    pub at: Timestamp,
}

impl Job {
    /// Work of which its worker says when it began.
    pub(crate) fn started(event: &JobEvent) -> Self {
        let name = shortened(&event.worker, LONGEST_NAME);
        Self {
            turn: Turn::of(event),
            worker: Some(name).filter(|name| !name.is_empty()),
            started_at: Some(event.at),
            progress: None,
        }
    }

    /// Work of which its worker says how far it is.
    pub(crate) fn underway(event: &JobEvent) -> Self {
        let progress = Progress {
            value: event.progress,
            message: event.message.as_deref().map(|text| shortened(text, LONGEST_MESSAGE)),
            at: event.at,
        };
        Self { started_at: None, progress: Some(progress), ..Self::started(event) }
    }

    /// Whether this is the same work, however far it has come.
    pub fn is_same_work(&self, other: &Self) -> bool {
        (self.turn, &self.worker, self.started_at) == (other.turn, &other.worker, other.started_at)
    }
}

impl Turn {
    /// The turn that an event tells of.
    pub fn of(event: &JobEvent) -> Self {
        Self {
            run: count(event.run),
            attempt: count(event.attempt).max(1),
            delivery: count(event.delivery).max(1),
        }
    }
}

/// A number of a message, brought into our bounds.
fn count(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

/// A text, or its beginning if it is longer than so many bytes.
pub(crate) fn shortened(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}
