//! Errors of API calls, by what a caller can do about them.

use std::time::Duration;

/// Why a call to the web service did not return what was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// There was no response, or only a part of one. The service may have handled the call anyway.
    #[error("{0}")]
    Unreachable(String),
    /// The service can't handle the call now.
    #[error("{detail}")]
    Unavailable {
        /// The service's explanation.
        detail: String,
        /// The `Retry-After` of the response.
        retry_after: Option<Duration>,
    },
    /// The time that the user gives a request to end is over, and the service does not tell whether it has.
    #[error("{0}")]
    TimedOut(String),
    /// The request or message does not exist, or no longer.
    #[error("{0}")]
    NotFound(String),
    /// The service rejects the call, and would do so again.
    #[error("{detail}")]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// The problem's `type`, see RFC 9457.
        problem_type: String,
        /// The service's explanation.
        detail: String,
    },
    /// The response is not one of Slowlane's web service.
    #[error("{0}")]
    UnexpectedResponse(String),
}

impl CallError {
    /// The least pause before another try; `None` if trying again can't help.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unreachable(_) => Some(Duration::ZERO),
            Self::Unavailable { retry_after, .. } => Some(retry_after.unwrap_or_default()),
            Self::TimedOut(_)
            | Self::NotFound(_)
            | Self::Rejected { .. }
            | Self::UnexpectedResponse(_) => None,
        }
    }
}
