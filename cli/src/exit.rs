//! Exit codes of `slowlane`, and the message of a command that failed.

use std::{io, process::ExitCode};

use crate::{
    api::{error::CallError, request::Status},
    output,
};

/// An exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command succeeded; a request that it waited for is completed.
    Completed = 0,
    /// Any failure without a code of its own.
    Other = 1,
    /// The arguments or the data can't be used.
    Usage = 2,
    /// The request failed.
    Failed = 3,
    /// The request was cancelled.
    Cancelled = 4,
    /// The request has not ended, or not in time.
    NotInTime = 5,
    /// The request does not exist, or no longer.
    NotFound = 6,
    /// The service can't be reached, or accepts nothing now.
    Unreachable = 7,
}

impl Exit {
    /// The code for a request's status.
    pub(crate) fn of(status: Status) -> Self {
        match status {
            Status::Completed => Self::Completed,
            Status::Failed => Self::Failed,
            Status::Cancelled => Self::Cancelled,
            Status::Queued | Status::Processing | Status::Unknown => Self::NotInTime,
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments, or a file that they name, can't be used.
    Usage(String),
    /// A call to the service failed.
    Call(CallError),
    /// The reader of standard output is gone, as after `| head`. This is no error of the command.
    OutputClosed,
    /// Anything else.
    Other(anyhow::Error),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

/// Errors of standard output, see [`output::line`]. Those of files are given a context first, which
/// makes them an [`anyhow::Error`].
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Other(anyhow::Error::new(error).context("the output can't be written")),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl Failure {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::OutputClosed => Exit::Completed,
            // The service found fault with the data or the flags.
            Self::Call(CallError::Rejected { status: 400 | 413 | 422, .. }) => Exit::Usage,
            Self::Other(_)
            | Self::Call(CallError::Rejected { .. } | CallError::UnexpectedResponse(_)) => {
                Exit::Other
            }
            Self::Call(CallError::TimedOut(_)) => Exit::NotInTime,
            Self::Call(CallError::NotFound(_)) => Exit::NotFound,
            Self::Call(CallError::Unreachable(_) | CallError::Unavailable { .. }) => {
                Exit::Unreachable
            }
        }
    }

    fn message(&self) -> Option<String> {
        match self {
            Self::OutputClosed => None,
            Self::Usage(text) => Some(text.clone()),
            Self::Call(error) => Some(error.to_string()),
            Self::Other(error) => Some(format!("{error:#}")),
        }
    }
}

/// Prints the message of a failure and returns the exit code.
pub(crate) fn end(ended: Result<Exit, Failure>) -> ExitCode {
    let exit = ended.unwrap_or_else(|failure| {
        if let Some(message) = failure.message() {
            output::note(message);
        }
        failure.exit()
    });
    ExitCode::from(exit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_documented_code() {
        let status = [Status::Completed, Status::Failed, Status::Cancelled, Status::Queued];
        assert_eq!(status.map(|status| Exit::of(status) as u8), [0, 3, 4, 5]);
        let text = String::new;
        let rejected =
            |status| CallError::Rejected { status, problem_type: text(), detail: text() };
        let unavailable = CallError::Unavailable { detail: text(), retry_after: None };
        for (failure, code) in [
            (Failure::Usage(text()), 2),
            (CallError::TimedOut(text()).into(), 5),
            (CallError::NotFound(text()).into(), 6),
            (CallError::Unreachable(text()).into(), 7),
            (unavailable.into(), 7),
            (rejected(422).into(), 2),
            (rejected(409).into(), 1),
            (anyhow::anyhow!("disk full").into(), 1),
            (io::Error::from(io::ErrorKind::StorageFull).into(), 1),
            (io::Error::from(io::ErrorKind::BrokenPipe).into(), 0),
        ] {
            assert_eq!(failure.exit() as u8, code, "{failure:?}");
        }
    }
}
