//! How a command ended, and what that means for its request. Pure decisions.

use std::{io, os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use pipeline::config;
use signal_hook::low_level::signal_name;

use crate::ProcessError;

/// The data is wrong, and will be wrong next time (`EX_DATAERR`).
const DATA_ERROR: i32 = 65;
/// Something is missing that may be there next time (`EX_TEMPFAIL`).
const TRY_LATER: i32 = 75;
/// What begins the line that says when to try again.
const RETRY_AFTER: &str = "retry-after:";

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It was never started, for this reason.
    NotStarted(String),
    /// Nobody knows: the guard is gone too.
    Lost,
}

impl Ended {
    /// What came of starting it and waiting for it.
    pub(super) fn of(waited: io::Result<ExitStatus>) -> Self {
        match waited {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => Self::Code(code),
                (_, Some(signal)) => Self::Signal(signal),
                _ => Self::Lost,
            },
            Err(error) => Self::NotStarted(error.to_string()),
        }
    }

    /// What the guard says of it, in one line.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Code(code) => format!("code {code}\n"),
            Self::Signal(signal) => format!("signal {signal}\n"),
            Self::NotStarted(why) => format!("error {}\n", why.replace('\n', " ")),
            Self::Lost => "lost\n".to_owned(),
        }
    }

    /// Understands what the guard said.
    pub(super) fn read(line: &str) -> Self {
        let number = |text: &str| text.parse().ok();
        let ended = match line.split_once(' ') {
            Some(("code", code)) => number(code).map(Self::Code),
            Some(("signal", signal)) => number(signal).map(Self::Signal),
            Some(("error", why)) => Some(Self::NotStarted(why.to_owned())),
            _ => None,
        };
        ended.unwrap_or(Self::Lost)
    }

    /// The failure it is, if it is one. `said` is the end of what the command wrote to standard error.
    pub(super) fn failure(&self, said: &str) -> Option<ProcessError> {
        let said = said.trim();
        let tail = if said.is_empty() { String::new() } else { format!(": {said}") };
        Some(match self {
            Self::Code(0) => return None,
            Self::Code(DATA_ERROR) => {
                ProcessError::permanent(format!("the command ended with exit code 65{tail}"))
            }
            Self::Code(code) => {
                let error = ProcessError::transient(format!(
                    "the command ended with exit code {code}{tail}"
                ));
                match retry_after(said).filter(|_| *code == TRY_LATER) {
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
            Self::Lost => {
                ProcessError::transient(format!("the command was killed with its guard{tail}"))
            }
        })
    }
}

/// A command that could not be started; it could when the program was.
pub(super) fn not_started(why: &str) -> ProcessError {
    ProcessError::transient(format!("the command can't be started: {why}"))
}

/// When the last line asks to be tried again.
fn retry_after(said: &str) -> Option<Duration> {
    let last = said.lines().next_back()?.trim();
    let (name, delay) = last.split_at_checked(RETRY_AFTER.len())?;
    let delay = name.eq_ignore_ascii_case(RETRY_AFTER).then_some(delay)?.trim();
    // Seconds without a unit are what HTTP has in its header of this name.
    let seconds = || delay.parse().ok().map(Duration::from_secs);
    config::duration(delay).ok().or_else(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Again;

    fn failure(ended: &Ended, said: &str) -> (String, String, Again) {
        let error = ended.failure(said).unwrap();
        (error.code, error.message, error.again)
    }

    #[test]
    fn exit_codes_tell_what_may_pass_from_what_stays() {
        assert!(Ended::Code(0).failure("a warning").is_none());
        let (code, message, again) = failure(&Ended::Code(65), " no such customer\n");
        assert_eq!((code.as_str(), again), ("permanent", Again::Never));
        assert_eq!(message, "the command ended with exit code 65: no such customer");
        for ended in [Ended::Code(1), Ended::Code(75), Ended::Code(127), Ended::Lost] {
            let (code, _, again) = failure(&ended, "");
            assert_eq!((code.as_str(), again), ("attempts_exhausted", Again::Later), "{ended:?}");
        }
    }

    #[test]
    fn a_signal_is_named() {
        let (_, message, again) = failure(&Ended::Signal(9), "half of it");
        assert_eq!(
            (message.as_str(), again),
            ("the command was killed by SIGKILL (9): half of it", Again::Later)
        );
        assert!(failure(&Ended::Signal(64), "").1.ends_with("a signal (64)"));
    }

    #[test]
    fn a_command_may_ask_for_its_delay() {
        let again = |code, said| failure(&Ended::Code(code), said).2;
        let after = |seconds| Again::After(Duration::from_secs(seconds));
        assert_eq!(again(75, "busy\nretry-after: 30s\n"), after(30));
        assert_eq!(again(75, "Retry-After:1m30s"), after(90));
        assert_eq!(again(75, "Retry-After: 120"), after(120));
        for said in [
            "retry-after: 30s\nbusy",
            "retry-after: soon",
            "retry-after: -3",
            "retry-after",
            "ünter: 30s",
            "",
        ] {
            assert_eq!(again(75, said), Again::Later, "{said}");
        }
        assert_eq!(again(1, "retry-after: 30s"), Again::Later);
    }

    #[test]
    fn what_the_guard_says_is_understood() {
        let why = Ended::NotStarted("No such file (os error 2)".to_owned());
        for ended in [Ended::Code(3), Ended::Signal(15), why, Ended::Lost] {
            assert_eq!(Ended::read(ended.line().trim_end()), ended);
        }
        for nonsense in ["", "code", "code x", "code 3 4", "hello"] {
            assert_eq!(Ended::read(nonsense), Ended::Lost, "{nonsense}");
        }
    }
}
