//! Stopping: the first SIGINT or SIGTERM asks for a graceful stop, the second for one at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// What a program is asked to do about stopping. Clones watch the same request.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Cancelled when the program should take nothing new and finish what it has in hand.
    pub drain: CancellationToken,
    /// Cancelled when the program should let go of what it has in hand.
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
            for (token, message) in
                [(&watched.drain, "stopping"), (&watched.now, "stopping at once")]
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
