//! What is known when somebody asks for a request, and what is answered.

use pipeline::{contract::Timestamp, health::QueueCounts};
use store::Summary;

use crate::events::jobs::job::Job;

/// What is known of the system when somebody asks for a request.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The present time.
    pub now: Timestamp,
    /// The request.
    pub request: Summary,
    /// The work on it, if a worker claims it.
    pub job: Option<Job>,
    /// Why the broker can't be used, if so.
    pub broker_away: Option<String>,
    /// Whether there is a queue for its type.
    pub is_known_type: bool,
    /// What was counted in the queue of its type; none if it is not known.
    pub queue: Option<QueueCounts>,
    /// How many open requests of its type were accepted before it and are not worked on; none if it is not known.
    pub before: Option<u32>,
    /// How many requests of its type ended in a second lately; none if it is not known.
    pub ended_per_second: Option<f64>,
    /// The work of all workers on its type, as far as they have told.
    pub work: WorkInHand,
    /// How many requests are worked on, of all types, of which workers may have died.
    pub suspects: usize,
}

/// What the workers do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkInHand {
    /// How many work on a request.
    pub busy: usize,
    /// When the work began that goes on for the longest time.
    pub longest_since: Option<Timestamp>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// The reasons, the most important first. There is always one.
    pub reasons: Vec<Reason>,
    /// When the work may begin; none if it has begun, or that can't be told.
    pub begins: Option<Begins>,
}

/// A reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// For programs.
    pub code: &'static str,
    /// A sentence for people.
    pub text: String,
}

/// When the work may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begins {
    /// The time.
    pub at: Timestamp,
    /// Whether it follows from the rate of the last minute. Else it is the time that the request waits for.
    pub is_estimate: bool,
}

impl Reason {
    pub(super) fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl Why {
    pub(super) fn of(reasons: Vec<Reason>) -> Self {
        Self { reasons, begins: None }
    }
}

/// A number with the word for one or for many.
pub(super) fn counted(count: u32, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
