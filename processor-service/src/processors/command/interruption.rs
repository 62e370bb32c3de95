//! Whether a command was interrupted: its processor stops, and the signal for that has reached the command, too.
//!
//! A service manager may signal all processes of a service at once. What a command gives then is not its result: it may be
//! the half of it, or an error about the signal. The guard is in the command's process group, and tells of each signal.
//! Where only the processor is signalled, a command goes on, and its result counts.

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::processors::{
    command::{
        exit_status::CommandStatus,
        guard::{PROGRESS_PREFIX, SIGNAL_MARK},
    },
    stopping::{SIGNALS_TIMEOUT, is_stopping},
};

/// Whether a command that has ended was interrupted. `signalled` says whether its guard has told of a signal, `guard` may
/// still tell of one; `line` is what was read of its present line. `stopping` is cancelled when the processor stops.
pub(super) async fn is_interrupted(
    status: &CommandStatus,
    signalled: bool,
    guard: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
    stopping: &CancellationToken,
) -> bool {
    match (status.is_deliberate(), signalled, stopping.is_cancelled()) {
        (true, false, false) => false,
        (true, true, true) | (false, _, true) => true,
        (true, false, true) => {
            timeout(SIGNALS_TIMEOUT, signal_comes(guard, line)).await.unwrap_or(false)
        }
        (true, true, false) | (false, _, false) => is_stopping(stopping).await,
    }
}

/// Waits until the guard tells of a signal; false if it ends before. Marks stand at the beginning of a line. Lines about
/// progress are left out, and the one that tells how the command ended stays in `line`.
async fn signal_comes(guard: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> bool {
    loop {
        let first = match line.first() {
            Some(first) if !line.ends_with(b"\n") => Some(*first),
            _ => guard.fill_buf().await.ok().and_then(|read| read.first().copied()),
        };
        match first {
            Some(first) if first == SIGNAL_MARK as u8 => return true,
            Some(_) if matches!(guard.read_until(b'\n', line).await, Ok(1..)) => {}
            _ => return false,
        }
        if line.starts_with(PROGRESS_PREFIX.as_bytes()) {
            line.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncWriteExt, BufReader, duplex},
        task::yield_now,
    };

    use super::*;

    async fn interrupted(status: CommandStatus, signalled: bool, stopping: bool) -> bool {
        let token = CancellationToken::new();
        if stopping {
            token.cancel();
        }
        let (guard, _open) = duplex(1);
        let (mut guard, mut line) = (BufReader::new(guard), Vec::new());
        is_interrupted(&status, signalled, &mut guard, &mut line, &token).await
    }

    #[tokio::test]
    async fn a_result_counts_unless_the_processor_stops_and_the_signal_came_here_too() {
        for code in [0, 65, 75] {
            let status = || CommandStatus::Code(code);
            assert!(interrupted(status(), true, true).await, "{code}");
            assert!(!interrupted(status(), true, false).await, "{code}");
            assert!(!interrupted(status(), false, true).await, "{code}");
            assert!(!interrupted(status(), false, false).await, "{code}");
        }
    }

    #[tokio::test]
    async fn no_failure_counts_while_the_processor_stops() {
        for status in [CommandStatus::Code(1), CommandStatus::Signal(15), CommandStatus::Unknown] {
            assert!(interrupted(status.clone(), false, true).await, "{status:?}");
            assert!(!interrupted(status.clone(), false, false).await, "{status:?}");
        }
    }

    #[tokio::test]
    async fn signals_may_arrive_in_any_order() {
        let (guard, mut signals) = duplex(1);
        let (mut guard, mut line) = (BufReader::new(guard), Vec::new());
        let stopping = CancellationToken::new();
        let failed = CommandStatus::Signal(15);
        let ended = is_interrupted(&failed, false, &mut guard, &mut line, &stopping);
        let (interrupted, ()) = tokio::join!(ended, async {
            yield_now().await;
            stopping.cancel()
        });
        assert!(interrupted);
        let done = CommandStatus::Code(0);
        let ended = is_interrupted(&done, false, &mut guard, &mut line, &stopping);
        let (interrupted, ()) = tokio::join!(ended, async {
            yield_now().await;
            signals.write_u8(b'X').await.unwrap()
        });
        assert!(interrupted);
    }

    #[tokio::test]
    async fn only_the_mark_of_a_signal_at_the_beginning_of_a_line_tells_of_one() {
        let stopping = CancellationToken::new();
        stopping.cancel();
        for (before, told, expected, kept) in [
            ("", "progress X\nprogress {}\n", false, ""),
            ("progress ", "X\n", false, ""),
            ("", "progress {}\nprog", false, "prog"),
            ("progress {", "}\ncode 0\n", false, "code 0\n"),
            ("", "progress X\nXprogress {}\n", true, ""),
            ("", "code 0\nX", true, "code 0\n"),
        ] {
            let (guard, mut signals) = duplex(100);
            let (mut guard, mut line) = (BufReader::new(guard), before.as_bytes().to_vec());
            signals.write_all(told.as_bytes()).await.unwrap();
            let done = CommandStatus::Code(0);
            let ended = is_interrupted(&done, false, &mut guard, &mut line, &stopping);
            assert_eq!(ended.await, expected, "{before}{told}");
            assert_eq!(line, kept.as_bytes(), "{before}{told}");
        }
    }
}
