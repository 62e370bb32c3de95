//! What anybody implements who has slow work to be done: one trait, its input and its error.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use pipeline::contract::{RequestId, codes};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

/// The slow work.
///
/// It must bear to be repeated: after a crash or a lost connection a request is delivered again,
/// and its id is the idempotency key. Work that is to end early is asked first, by [`Job::stop`], and
/// dropped a second later. It runs on a runtime of its own, and may block its thread; but what blocks its
/// thread can't be dropped, and if it should have ended, the program has to end to be rid of it.
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
    /// When its time is over (`JOB_TIMEOUT`).
    pub deadline: SystemTime,
    /// Cancelled when the work should end soon: its time is over, nobody wants it any more, or the
    /// program stops. What it still says then doesn't count.
    pub stop: CancellationToken,
}

/// Why the work failed.
#[derive(Debug, Clone)]
pub struct ProcessError {
    /// A word that programs can branch on.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// Whether it is worth another try.
    pub again: Again,
}

/// Whether work that failed is worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// No: it would fail in the same way.
    Never,
    /// Yes, after the usual delay.
    Later,
    /// Yes, and not before so long.
    After(Duration),
}

impl ProcessError {
    /// A failure that trying again would not change.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { code: codes::PERMANENT.to_owned(), message: message.into(), again: Again::Never }
    }

    /// A failure that may pass. Its code is the one that the request ends with if it never does.
    pub fn transient(message: impl Into<String>) -> Self {
        let code = codes::ATTEMPTS_EXHAUSTED.to_owned();
        Self { code, message: message.into(), again: Again::Later }
    }

    /// This failure, not to be tried again before so long.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self { again: Again::After(delay), ..self }
    }
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for ProcessError {}
