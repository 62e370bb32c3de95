//! What anybody implements who has slow work to be done: one trait, its input and its error.

use std::fmt;

use pipeline::contract::{ErrorBody, RequestId, codes};
use serde_json::value::RawValue;

/// The slow work.
///
/// It must bear to be repeated: after a crash or a lost connection a request is delivered again,
/// and its id is the idempotency key. The future may be dropped when the program is told to stop;
/// the request then goes to another worker.
pub trait Processor: Send + Sync + 'static {
    /// Works on one request and gives its result as JSON.
    fn process(&self, job: Job)
    -> impl Future<Output = Result<Box<RawValue>, ProcessError>> + Send;
}

/// One request to work on.
#[derive(Debug, Clone)]
pub struct Job {
    /// Whose work this is.
    pub id: RequestId,
    /// What to work on, as the client sent it.
    pub data: Box<RawValue>,
    /// Which attempt this is, from 1.
    pub attempt: i64,
}

/// Why the work failed for good.
#[derive(Debug, Clone)]
pub struct ProcessError {
    /// A word that programs can branch on.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

impl ProcessError {
    /// A failure that trying again would not change.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { code: codes::PERMANENT.to_owned(), message: message.into() }
    }
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for ProcessError {}

impl From<ProcessError> for ErrorBody {
    fn from(error: ProcessError) -> Self {
        Self::new(error.code, error.message)
    }
}
