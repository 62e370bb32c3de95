//! The error of a processor: why a job failed, and whether the request is retried.

use std::{error::Error, fmt, time::Duration};

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
/// // Any error will do, too; its causes are part of the message.
/// "12x".parse::<u32>().map_err(ProcessError::transient).unwrap_err();
/// ```
///
/// # What `?` makes of other errors
///
/// `?` takes every error: those that implement [`std::error::Error`], `anyhow::Error`, `Box<dyn Error + Send + Sync>`, and
/// text. The message has the error and all its causes, as in `a: b: c`. The failure is transient, except for errors that the
/// same data would meet again:
///
/// | error | failure |
/// | --- | --- |
/// | of parsing and conversion: integers, floats, `bool`, `char`, UTF-8, addresses; [`serde_json::Error`] | permanent |
/// | [`std::io::Error`] of the kind `InvalidData`, `InvalidInput` or `Unsupported` | permanent |
/// | any other error, `NotFound` and `PermissionDenied` among them | transient |
/// | `anyhow::Error`, `Box<dyn Error + Send + Sync>` | transient, whatever is inside; but a `ProcessError` inside stays as it is |
///
/// Where that is wrong, decide with `map_err(ProcessError::permanent)` or `map_err(ProcessError::transient)`. To say what
/// was tried, use [`Context`](crate::Context).
///
/// ```
/// use processor_service::{Context, ProcessError};
///
/// fn total(path: &str) -> Result<u64, ProcessError> {
///     let text = std::fs::read_to_string(path).context("reading the numbers")?; // transient if the file is not there
///     let numbers = text.lines().map(str::parse::<u64>);
///     Ok(numbers.sum::<Result<u64, _>>()?) // permanent if a line is no number
/// }
/// # let error = total("no/such/file").unwrap_err().to_string();
/// # assert!(error.starts_with("transient: reading the numbers: No such file"), "{error}");
/// ```
///
/// # Through other error types
///
/// A `ProcessError` is no [`std::error::Error`] itself, as `anyhow::Error` is none: otherwise `?` could not take every
/// error. A function that returns `anyhow::Result` ends with `bail!(ProcessError::permanent("..."))`; where a standard error
/// is needed, [`ProcessError::into_error`] makes one. Code, retry and message come out again, with the context that was
/// added.
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
    /// None: the request is handed back, since the program stops, or so that others get their turn.
    HandBack,
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
    /// A failure that would come again with the next attempt, for this reason: a text, or an error with its causes. Its
    /// code is `permanent`.
    pub fn permanent<'a>(reason: impl Into<Box<dyn Error + Send + Sync + 'a>>) -> Self {
        Self::new(codes::PERMANENT, &*reason.into(), Retry::Never)
    }

    /// A failure that may be gone with the next attempt, for this reason: a text, or an error with its causes. Its code is
    /// `transient`; the request, if this was its last attempt, has the code `attempts_exhausted`.
    pub fn transient<'a>(reason: impl Into<Box<dyn Error + Send + Sync + 'a>>) -> Self {
        Self::new(codes::TRANSIENT, &*reason.into(), Retry::Default)
    }

    /// The work could not begin, for a reason that lies with this host: a missing file, no memory, no more processes. It is
    /// no attempt: the request is handed back, for another process. This process takes requests more slowly, and after
    /// repeated failures only one now and then, until one begins.
    pub fn not_started<'a>(reason: impl Into<Box<dyn Error + Send + Sync + 'a>>) -> Self {
        Self { cause: Cause::Host, ..Self::transient(reason) }
    }

    /// The stop of the program has ended the work: the request is handed back, as if it had not been delivered.
    pub(crate) fn interrupted() -> Self {
        Self::handed_back("the program stops")
    }

    /// The request is handed back for this reason, as if it had not been delivered.
    pub(crate) fn handed_back<'a>(reason: impl Into<Box<dyn Error + Send + Sync + 'a>>) -> Self {
        Self { cause: Cause::HandBack, ..Self::transient(reason) }
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

    /// This failure with what was tried before its message, as in `reading the invoice: not found`.
    #[must_use]
    pub fn context(self, context: impl fmt::Display) -> Self {
        Self { message: format!("{context}: {}", self.message), ..self }
    }

    /// This failure as a standard error, to pass it through code that takes no other. `?` makes the failure of it again.
    pub fn into_error(self) -> impl Error + Send + Sync + 'static {
        Carried(self)
    }

    fn new(code: &str, reason: &(dyn Error + '_), retry: Retry) -> Self {
        Self { code: code.to_owned(), message: with_causes(reason), retry, cause: Cause::Work }
    }
}

/// The error's message and those of its causes, as in `a: b: c`. Some errors have their cause in their own message.
pub(crate) fn with_causes(error: &(dyn Error + '_)) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |cause| (*cause).source()) {
        let further = format!(": {cause}");
        if !text.ends_with(&further) {
            text += &further;
        }
    }
    text
}

/// A [`ProcessError`] as a standard error.
#[derive(Debug)]
pub(crate) struct Carried(pub(crate) ProcessError);

impl Error for Carried {}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}
