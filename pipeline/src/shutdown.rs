//! Shutdown: the first SIGINT or SIGTERM stops the program gracefully, the second at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::log_messages::STOPPING;

/// The request to stop, in two stages. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Cancelled when the program should take no more work and finish what it has begun.
    pub drain: CancellationToken,
    /// Cancelled when the program should abandon what it has begun.
    pub now: CancellationToken,
}

impl Shutdown {
    /// Watches for the signals from now on. Needs a Tokio runtime.
    ///
    /// # Errors
    /// If the operating system refuses a signal handler.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::default();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let watched = shutdown.clone();
        tokio::spawn(async move {
            for (token, message) in [(&watched.drain, STOPPING), (&watched.now, "stopping at once")]
            {
                let signal = tokio::select! {
                    _ = interrupt.recv() => "SIGINT",
                    _ = terminate.recv() => "SIGTERM",
                };
                info!(signal, "{message}");
                token.cancel();
            }
        });
        Ok(shutdown)
    }
}
