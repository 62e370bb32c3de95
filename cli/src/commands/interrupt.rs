//! Ctrl-C and SIGTERM in the middle of long work.

use pipeline::shutdown::Shutdown;

use crate::exit::Failure;

/// Does `work` until it ends or a signal comes; it is dropped then. Returns whether it ended.
pub(super) async fn until_interrupted(
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<bool, Failure> {
    let interrupt = Shutdown::on_signals().map_err(anyhow::Error::new)?.drain;
    tokio::select! {
        ended = work => ended.map(|()| true),
        () = interrupt.cancelled() => Ok(false),
    }
}
