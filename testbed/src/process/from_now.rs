//! Waiting for what a process says from a moment on.

use anyhow::Result;

use super::{Follow, Process, json_message};

/// A moment in a process's life. What it said before does not count.
#[derive(Debug)]
pub struct FromNow<'a> {
    process: &'a Process,
    lines: Follow,
}

impl<'a> FromNow<'a> {
    pub(super) fn new(process: &'a Process) -> Self {
        let lines = process.follow().skip(process.lines().len());
        Self { process, lines }
    }

    /// Waits for a line that `pick` makes something of, within [`DEADLINE`](super::DEADLINE).
    pub async fn wait_for<T>(self, what: &str, pick: impl FnMut(&str) -> Option<T>) -> Result<T> {
        self.process.search(self.lines, what, pick).await
    }

    /// Waits for a JSON log line whose `message` is `message` and gives that line.
    pub async fn wait_for_message(self, message: &str) -> Result<serde_json::Value> {
        let what = format!("the message {message:?}");
        self.wait_for(&what, |line| json_message(line, message)).await
    }
}
