//! Context for errors: what was tried when one came.

use std::fmt::Display;

use crate::processor::error::ProcessError;

/// Makes a [`ProcessError`] of any error, with what was tried before the message. Whether the request is retried stays as
/// `?` decides it.
///
/// ```
/// use processor_service::{Context, ProcessError, Retry};
///
/// let parsed = "12x".parse::<u32>().with_context(|| format!("line {}", 3));
/// let error: ProcessError = parsed.unwrap_err();
/// assert_eq!(error.message, "line 3: invalid digit found in string");
/// assert_eq!(error.retry, Retry::Never);
/// ```
pub trait Context<T> {
    /// Puts this before the error's message.
    ///
    /// # Errors
    /// The error, if it is one.
    fn context(self, context: impl Display) -> Result<T, ProcessError>;

    /// Puts what this gives before the error's message; it is called only if there is an error.
    ///
    /// # Errors
    /// The error, if it is one.
    fn with_context<C: Display>(self, context: impl FnOnce() -> C) -> Result<T, ProcessError>;
}

impl<T, E: Into<ProcessError>> Context<T> for Result<T, E> {
    fn context(self, context: impl Display) -> Result<T, ProcessError> {
        self.with_context(|| context)
    }

    fn with_context<C: Display>(self, context: impl FnOnce() -> C) -> Result<T, ProcessError> {
        self.map_err(|error| error.into().context(context()))
    }
}
