//! The wish to stop: Ctrl-C, SIGTERM, or a terminal that was closed.

use std::{future::Future, process::ExitCode};

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a shell expects of a program that Ctrl-C ended.
pub(crate) fn exit_code() -> ExitCode {
    ExitCode::from(130)
}

/// Listens for the wish to stop from its making on, so that none is missed between two steps.
#[derive(Debug)]
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Stop {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until somebody wants the program to stop.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }

    /// Does `work`, or gives up at the wish to stop. What was given up ends its child processes as it is dropped.
    pub(crate) async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.asked() => None,
        }
    }
}
