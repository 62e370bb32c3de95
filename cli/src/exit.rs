//! How `slowlane` ends: the exit codes, and what is said of a failure.

use std::{io, process::ExitCode};

use crate::{
    api::{CallError, Status},
    output,
};

/// An exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is done; a request was completed.
    Completed = 0,
    /// Anything that has no code of its own.
    Other = 1,
    /// The command makes no sense as it was typed, or its data don't.
    Usage = 2,
    /// The request failed.
    Failed = 3,
    /// The request was cancelled.
    Cancelled = 4,
    /// The request has not ended, or not in time.
    NotInTime = 5,
    /// There is no such request, or no more.
    NotFound = 6,
    /// The service can't be reached, or takes nothing now.
    Unreachable = 7,
}

impl Exit {
    /// What a request's status is told by.
    pub(crate) fn of(status: Status) -> Self {
        match status {
            Status::Completed => Self::Completed,
            Status::Failed => Self::Failed,
            Status::Cancelled => Self::Cancelled,
            Status::Queued | Status::Processing | Status::Unknown => Self::NotInTime,
        }
    }
}

/// Why a command could not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was typed, or what a file holds, can't be used.
    Usage(String),
    /// The service could not be asked, or did not give what was asked.
    Call(CallError),
    /// Whoever read the output has gone away, as in `| head`.
    NobodyReads,
    /// Anything else.
    Other(anyhow::Error),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl Failure {
    /// What a failed write to standard output means.
    pub(crate) fn of_output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::Other(anyhow::Error::new(error).context("the output can't be written")),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::NobodyReads => Exit::Completed,
            // What was sent can't be used, and was typed like that.
            Self::Call(CallError::Refused { status: 400 | 413 | 422, .. }) => Exit::Usage,
            Self::Other(_) | Self::Call(CallError::Refused { .. } | CallError::Foreign(_)) => {
                Exit::Other
            }
            Self::Call(CallError::Missing(_)) => Exit::NotFound,
            Self::Call(CallError::Unreachable(_) | CallError::Busy { .. }) => Exit::Unreachable,
        }
    }

    fn text(&self) -> Option<String> {
        match self {
            Self::NobodyReads => None,
            Self::Usage(text) => Some(text.clone()),
            Self::Call(error) => Some(error.to_string()),
            Self::Other(error) => Some(format!("{error:#}")),
        }
    }
}

/// Says what went wrong, if anything did, and gives the code to end with.
pub(crate) fn end(ended: Result<Exit, Failure>) -> ExitCode {
    let exit = ended.unwrap_or_else(|failure| {
        if let Some(text) = failure.text() {
            output::note(text);
        }
        failure.exit()
    });
    ExitCode::from(exit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_the_code_that_was_promised() {
        let status = [Status::Completed, Status::Failed, Status::Cancelled, Status::Queued];
        assert_eq!(status.map(|status| Exit::of(status) as u8), [0, 3, 4, 5]);
        let text = String::new;
        let refused = |status| CallError::Refused { status, kind: text(), said: text() };
        let busy = CallError::Busy { said: text(), after: None };
        for (failure, code) in [
            (Failure::Usage(text()), 2),
            (CallError::Missing(text()).into(), 6),
            (CallError::Unreachable(text()).into(), 7),
            (busy.into(), 7),
            (refused(422).into(), 2),
            (refused(409).into(), 1),
            (anyhow::anyhow!("disk full").into(), 1),
            (Failure::of_output(io::ErrorKind::BrokenPipe.into()), 0),
        ] {
            assert_eq!(failure.exit() as u8, code, "{failure:?}");
        }
    }
}
