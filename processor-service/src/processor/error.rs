//! The error of a processor: why a job failed, and whether the request is retried.

use std::{fmt, time::Duration};

use pipeline::contract::codes;

/// Why a job failed, and whether the request is retried.
///
/// A *permanent* failure ends the request: it is `failed` with this error. After a *transient* one the request is
/// retried, until `MAX_ATTEMPTS` attempts have failed.
///
/// ```
/// use std::time::Duration;
/// use processor_service::ProcessError;
///
/// ProcessError::permanent("no such customer").with_code("no_customer");
/// ProcessError::transient("the mail server is busy").after(Duration::from_secs(30));
/// // Any error that can be displayed will do.
/// "12x".parse::<u32>().map_err(ProcessError::transient).unwrap_err();
/// ```
///
/// # What `?` makes of other errors
///
/// | error | failure |
/// | --- | --- |
/// | of parsing and conversion: integers, floats, `bool`, `char`, UTF-8, addresses; [`serde_json::Error`] | permanent: the same data fails in the same way |
/// | [`std::io::Error`] of the kind `InvalidData`, `InvalidInput` or `Unsupported` | permanent |
/// | any other [`std::io::Error`], `NotFound` and `PermissionDenied` among them | transient: files and networks can be repaired |
/// | [`std::env::VarError`], [`std::time::SystemTimeError`] | transient: another worker may have what this one lacks |
/// | [`tokio::time::error::Elapsed`] | transient |
/// | [`tokio::task::JoinError`] | permanent if the task panicked, else transient |
/// | [`anyhow::Error`], `Box<dyn Error + Send + Sync>` | transient; a `ProcessError` inside stays as it is |
///
/// Where that is wrong, decide with `map_err(ProcessError::permanent)` or `map_err(ProcessError::transient)`.
///
/// ```
/// use processor_service::ProcessError;
///
/// fn total(path: &str) -> Result<u64, ProcessError> {
///     let text = std::fs::read_to_string(path)?; // transient if the file is not there
///     let numbers = text.lines().map(str::parse::<u64>);
///     Ok(numbers.sum::<Result<u64, _>>()?) // permanent if a line is no number
/// }
/// # assert!(total("no/such/file").unwrap_err().to_string().starts_with("transient: "));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProcessError {
    /// A word that programs can branch on: `error.code` of the failed request, unless it is `transient`.
    pub code: String,
    /// A sentence for people: `error.message` of the failed request.
    pub message: String,
    /// Whether and when the request is retried.
    pub retry: Retry,
    /// Whether this is a failure of the work at all.
    pub(crate) cause: Cause,
}

/// What an error is due to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The work has failed.
    Work,
    /// The host could not begin the work: the request is handed back, and this process slows down.
    Host,
    /// The program stops, and the request is handed back.
    Stop,
}

/// Whether and when a request is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Never: the failure is permanent.
    Never,
    /// After the delay of `RETRY_DELAYS`.
    Default,
    /// After this delay at the earliest, at most 30 days.
    After(Duration),
}

impl ProcessError {
    /// A failure that would come again with the next attempt. Its code is `permanent`.
    pub fn permanent(message: impl fmt::Display) -> Self {
        let code = codes::PERMANENT.to_owned();
        Self { code, message: message.to_string(), retry: Retry::Never, cause: Cause::Work }
    }

    /// A failure that may be gone with the next attempt. Its code is `transient`; the request, if this was its last attempt,
    /// has the code `attempts_exhausted`.
    pub fn transient(message: impl fmt::Display) -> Self {
        let code = codes::TRANSIENT.to_owned();
        Self { code, message: message.to_string(), retry: Retry::Default, cause: Cause::Work }
    }

    /// The work could not begin, for a reason that lies with this host: a missing file, no memory, no more processes. It is
    /// no attempt: the request is handed back, for another process. This process takes requests more slowly, and after
    /// repeated failures only one now and then, until one begins.
    pub fn not_started(message: impl fmt::Display) -> Self {
        Self { cause: Cause::Host, ..Self::transient(message) }
    }

    /// The stop of the program has ended the work: the request is handed back, as if it had not been delivered.
    pub(crate) fn interrupted() -> Self {
        Self { cause: Cause::Stop, ..Self::transient("the program stops") }
    }

    /// This failure, with the next attempt not before this delay is over.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self { retry: Retry::After(delay), ..self }
    }

    /// This failure with a code of your own, of at most 200 bytes.
    #[must_use]
    pub fn with_code(self, code: impl Into<String>) -> Self {
        Self { code: code.into(), ..self }
    }
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for ProcessError {}
