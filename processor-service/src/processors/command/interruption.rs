//! Whether a command was interrupted: its processor stops, and the signal for that has reached the command, too.
//!
//! A service manager may signal all processes of a service at once. What a command gives then is not its result: it may be
//! the half of it, or an error about the signal. The guard is in the command's process group, and tells of each signal.
//! Where only the processor is signalled, a command goes on, and its result counts.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::processors::command::exit_status::CommandStatus;

/// How long signals that are sent one after the other may take to arrive.
const SIGNALS_TIMEOUT: Duration = Duration::from_millis(200);

/// Whether a command that has ended was interrupted. `signalled` says whether its guard has told of a signal, `guard` may
/// still tell of one. `stopping` is cancelled when the processor stops.
pub(super) async fn is_interrupted(
    status: &CommandStatus,
    signalled: bool,
    guard: &mut (impl AsyncRead + Unpin),
    stopping: &CancellationToken,
) -> bool {
    match (status.is_deliberate(), signalled, stopping.is_cancelled()) {
        (true, false, false) => false,
        (true, true, true) | (false, _, true) => true,
        (true, false, true) => matches!(timeout(SIGNALS_TIMEOUT, guard.read_u8()).await, Ok(Ok(_))),
        (true, true, false) | (false, _, false) => {
            timeout(SIGNALS_TIMEOUT, stopping.cancelled()).await.is_ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncWriteExt, duplex},
        task::yield_now,
    };

    use super::*;

    async fn interrupted(status: CommandStatus, signalled: bool, stopping: bool) -> bool {
        let token = CancellationToken::new();
        if stopping {
            token.cancel();
        }
        let (mut guard, _open) = duplex(1);
        is_interrupted(&status, signalled, &mut guard, &token).await
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
        let (mut guard, mut signals) = duplex(1);
        let stopping = CancellationToken::new();
        let failed = CommandStatus::Signal(15);
        let (interrupted, ()) =
            tokio::join!(is_interrupted(&failed, false, &mut guard, &stopping), async {
                yield_now().await;
                stopping.cancel()
            },);
        assert!(interrupted);
        let done = CommandStatus::Code(0);
        let (interrupted, ()) =
            tokio::join!(is_interrupted(&done, false, &mut guard, &stopping), async {
                yield_now().await;
                signals.write_u8(b'X').await.unwrap()
            },);
        assert!(interrupted);
    }
}
