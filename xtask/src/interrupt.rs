//! Interrupts of a command: Ctrl-C, SIGTERM, and the end of its terminal.

use std::{future::Future, process::ExitCode};

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::console;

/// The exit code that shells expect of a program that Ctrl-C ended.
pub(crate) fn exit_code() -> ExitCode {
    ExitCode::from(130)
}

/// Reports that a command was interrupted, and returns its exit code.
pub(crate) fn stopped(command: &str) -> ExitCode {
    console::blank_line();
    console::step(command, "stopped; nothing is left running");
    exit_code()
}

/// Listens for signals from its creation on, so that none is missed between two steps.
#[derive(Debug)]
pub(crate) struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Interrupt {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal.
    pub(crate) async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }

    /// Does `work`; a signal cancels it, which gives `None`. Child processes of the work end as it is dropped.
    pub(crate) async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.received() => None,
        }
    }
}
