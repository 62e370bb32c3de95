//! Shutdown: the first SIGINT or SIGTERM stops the program gracefully, the second at once.

use std::sync::{Arc, OnceLock};

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
    /// The signal that came first.
    signal: Arc<OnceLock<&'static str>>,
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
                watched.signal.get_or_init(|| signal);
                info!(signal, "{message}");
                token.cancel();
            }
        });
        Ok(shutdown)
    }

    /// How to request the second stage, for people, as the end of a sentence: `; press again to stop at once`. Empty if
    /// no signal has asked for the first.
    pub fn how_to_hurry(&self, purpose: &str) -> String {
        match self.signal.get() {
            Some(&"SIGINT") => format!("; press again {purpose}"),
            Some(signal) => format!("; send {signal} again {purpose}"),
            None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_to_hurry_depends_on_who_asked() {
        let of = |signal| {
            let shutdown = Shutdown::default();
            shutdown.signal.set(signal).unwrap();
            shutdown.how_to_hurry("to stop now")
        };
        assert_eq!(of("SIGINT"), "; press again to stop now");
        assert_eq!(of("SIGTERM"), "; send SIGTERM again to stop now");
        assert_eq!(Shutdown::default().how_to_hurry("to stop now"), "");
    }
}
