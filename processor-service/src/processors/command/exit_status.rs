//! The exit status of a command, and the failure that it means. Pure decisions.

use std::{io, os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use pipeline::config;
use signal_hook::low_level::signal_name;

use crate::processor::error::ProcessError;

/// The exit code of a permanent failure (`EX_DATAERR` of sysexits.h).
const EX_DATAERR: i32 = 65;
/// The exit code of a transient failure that may ask for a delay (`EX_TEMPFAIL` of sysexits.h).
const EX_TEMPFAIL: i32 = 75;
/// The beginning of the line that asks for a delay.
const RETRY_AFTER_PREFIX: &str = "retry-after:";

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CommandStatus {
    /// It exited with this code.
    Code(i32),
    /// It was killed by this signal.
    Signal(i32),
    /// It was not started, for this reason.
    NotStarted(String),
    /// Unknown, since its guard is gone too.
    Unknown,
}

impl CommandStatus {
    /// The status of a command that was started and waited for.
    pub(super) fn of(waited: io::Result<ExitStatus>) -> Self {
        match waited {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => Self::Code(code),
                (_, Some(signal)) => Self::Signal(signal),
                _ => Self::Unknown,
            },
            Err(error) => Self::not_started(&error),
        }
    }

    /// The status of a command that the system refused to start.
    pub(super) fn not_started(error: &io::Error) -> Self {
        Self::NotStarted(error.to_string())
    }

    /// The line that the guard sends.
    pub(super) fn to_line(&self) -> String {
        match self {
            Self::Code(code) => format!("code {code}\n"),
            Self::Signal(signal) => format!("signal {signal}\n"),
            Self::NotStarted(why) => format!("error {}\n", why.replace('\n', " ")),
            Self::Unknown => "unknown\n".to_owned(),
        }
    }

    /// Reads the guard's line.
    pub(super) fn parse(line: &str) -> Self {
        let number = |text: &str| text.parse().ok();
        let status = match line.split_once(' ') {
            Some(("code", code)) => number(code).map(Self::Code),
            Some(("signal", signal)) => number(signal).map(Self::Signal),
            Some(("error", why)) => Some(Self::NotStarted(why.to_owned())),
            _ => None,
        };
        status.unwrap_or(Self::Unknown)
    }

    /// Whether the system could not start the command.
    pub(super) fn is_not_started(&self) -> bool {
        matches!(self, Self::NotStarted(_))
    }

    /// Whether the command chose this end: a result, or an exit code with a meaning.
    pub(super) fn is_deliberate(&self) -> bool {
        matches!(self, Self::Code(0 | EX_DATAERR | EX_TEMPFAIL))
    }

    /// The failure that this status means, or none for exit code 0. `stderr` is the end of what the command wrote to
    /// standard error.
    pub(super) fn failure(&self, stderr: &str) -> Option<ProcessError> {
        let stderr = stderr.trim();
        let tail = if stderr.is_empty() { String::new() } else { format!(": {stderr}") };
        Some(match self {
            Self::Code(0) => return None,
            Self::Code(EX_DATAERR) => {
                ProcessError::permanent(format!("the command ended with exit code 65{tail}"))
            }
            Self::Code(code) => {
                let error = ProcessError::transient(format!(
                    "the command ended with exit code {code}{tail}"
                ));
                match retry_after(stderr).filter(|_| *code == EX_TEMPFAIL) {
                    Some(delay) => error.after(delay),
                    None => error,
                }
            }
            Self::Signal(signal) => {
                let name = signal_name(*signal).unwrap_or("a signal");
                let message = format!("the command was killed by {name} ({signal}){tail}");
                ProcessError::transient(message)
            }
            Self::NotStarted(why) => not_started(why),
            Self::Unknown => {
                ProcessError::transient(format!("the command was killed with its guard{tail}"))
            }
        })
    }
}

/// The failure of a command that cannot be started. When the program started, the command could be, so it is the host's.
pub(super) fn not_started(why: &str) -> ProcessError {
    ProcessError::not_started(format!("the command can't be started: {why}"))
}

/// The delay that the last line on standard error asks for.
fn retry_after(stderr: &str) -> Option<Duration> {
    let last = stderr.lines().next_back()?.trim();
    let (name, delay) = last.split_at_checked(RETRY_AFTER_PREFIX.len())?;
    let delay = name.eq_ignore_ascii_case(RETRY_AFTER_PREFIX).then_some(delay)?.trim();
    // The HTTP header of this name has seconds without a unit.
    let seconds = || delay.parse().ok().map(Duration::from_secs);
    config::duration_or_zero(delay).ok().or_else(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processor::error::Retry;

    fn failure(status: &CommandStatus, said: &str) -> (String, String, Retry) {
        let error = status.failure(said).unwrap();
        (error.code, error.message, error.retry)
    }

    #[test]
    fn exit_code_65_is_permanent_and_others_are_transient() {
        assert!(CommandStatus::Code(0).failure("a warning").is_none());
        let (code, message, retry) = failure(&CommandStatus::Code(65), " no such customer\n");
        assert_eq!((code.as_str(), retry), ("permanent", Retry::Never));
        assert_eq!(message, "the command ended with exit code 65: no such customer");
        for status in [
            CommandStatus::Code(1),
            CommandStatus::Code(75),
            CommandStatus::Code(127),
            CommandStatus::Unknown,
        ] {
            let (code, _, retry) = failure(&status, "");
            assert_eq!((code.as_str(), retry), ("transient", Retry::Default), "{status:?}");
        }
    }

    #[test]
    fn a_signal_is_named() {
        let (_, message, retry) = failure(&CommandStatus::Signal(9), "half of it");
        assert_eq!(
            (message.as_str(), retry),
            ("the command was killed by SIGKILL (9): half of it", Retry::Default)
        );
        assert!(failure(&CommandStatus::Signal(64), "").1.ends_with("a signal (64)"));
    }

    #[test]
    fn a_command_may_ask_for_its_delay() {
        let retry = |code, said| failure(&CommandStatus::Code(code), said).2;
        let after = |seconds| Retry::After(Duration::from_secs(seconds));
        assert_eq!(retry(75, "busy\nretry-after: 30s\n"), after(30));
        assert_eq!(retry(75, "Retry-After:1m30s"), after(90));
        assert_eq!(retry(75, "Retry-After: 120"), after(120));
        assert_eq!(retry(75, "Retry-After: 0s"), after(0));
        for said in [
            "retry-after: 30s\nbusy",
            "retry-after: soon",
            "retry-after: -3",
            "retry-after",
            "ünter: 30s",
            "",
        ] {
            assert_eq!(retry(75, said), Retry::Default, "{said}");
        }
        assert_eq!(retry(1, "retry-after: 30s"), Retry::Default);
    }

    #[test]
    fn the_line_of_the_guard_is_parsed() {
        let why = CommandStatus::NotStarted("No such file (os error 2)".to_owned());
        for status in
            [CommandStatus::Code(3), CommandStatus::Signal(15), why, CommandStatus::Unknown]
        {
            assert_eq!(CommandStatus::parse(status.to_line().trim_end()), status);
        }
        for nonsense in ["", "code", "code x", "code 3 4", "hello"] {
            assert_eq!(CommandStatus::parse(nonsense), CommandStatus::Unknown, "{nonsense}");
        }
    }
}
