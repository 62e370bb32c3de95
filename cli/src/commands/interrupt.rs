//! Ctrl-C, SIGTERM and the end of the terminal (SIGHUP) in the middle of long work.

use std::{fs, io};

use futures_util::future::select_all;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Failure;

/// Does `work` until it ends or a signal comes; it is dropped then. Returns whether it ended.
pub(super) async fn until_interrupted(
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<bool, Failure> {
    let hangup = is_hangup_heard().then(SignalKind::hangup);
    until_one_of([SignalKind::interrupt(), SignalKind::terminate()].into_iter().chain(hangup), work)
        .await
}

/// The same for what is to be done after a signal. SIGHUP does not count: the kernel and the shell both send it when a
/// terminal closes.
pub(super) async fn until_interrupted_again(
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<bool, Failure> {
    until_one_of([SignalKind::interrupt(), SignalKind::terminate()], work).await
}

async fn until_one_of(
    kinds: impl IntoIterator<Item = SignalKind>,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<bool, Failure> {
    let signals = kinds.into_iter().map(signal).collect::<io::Result<Vec<Signal>>>();
    let mut signals = signals.map_err(anyhow::Error::new)?;
    let received = select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv())));
    tokio::select! {
        ended = work => ended.map(|()| true),
        _ = received => Ok(false),
    }
}

/// Whether SIGHUP is to end work. Under nohup it is ignored, which a handler would undo; where that can't be seen, it stays
/// as it is.
fn is_hangup_heard() -> bool {
    fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| ignores_hangup(&status) == Some(false))
}

/// Whether a process ignores SIGHUP, by its `/proc/PID/status`.
fn ignores_hangup(status: &str) -> Option<bool> {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    let ignored = u64::from_str_radix(ignored.trim(), 16).ok()?;
    // SIGHUP is the first signal.
    Some(ignored & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bit_of_the_ignored_signals_is_the_end_of_the_terminal() {
        let ignores = |mask| ignores_hangup(&format!("SigBlk:\t1\nSigIgn:\t{mask}\nSigCgt:\t0\n"));
        assert_eq!(ignores("0000000000001001"), Some(true));
        assert_eq!(ignores("0000000000001000"), Some(false));
        assert_eq!(ignores_hangup("Name:\tslowlane\n"), None);
    }
}
