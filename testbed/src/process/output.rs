//! Waits for lines that a child process writes.

use std::borrow::Cow;

use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;

use super::{
    child::{Process, WAIT_TIMEOUT},
    history::Follow,
};

impl Process {
    /// Waits for a line, past or future, for which `pick` gives a value, within [`WAIT_TIMEOUT`]. `what` is for the
    /// error message.
    pub async fn wait_for<T>(&self, what: &str, pick: impl FnMut(&str) -> Option<T>) -> Result<T> {
        self.search(self.follow(), what, pick).await
    }

    /// Waits for a line that contains `text` and gives that line.
    pub async fn wait_for_text(&self, text: &str) -> Result<String> {
        self.wait_for(&format!("{text:?}"), |line| line.contains(text).then(|| line.to_owned()))
            .await
    }

    /// Waits for a JSON log line whose `message` is `message` and gives that line.
    pub async fn wait_for_message(&self, message: &str) -> Result<Value> {
        self.wait_for(&format!("the message {message:?}"), |line| json_message(line, message)).await
    }

    /// Whether it has written a JSON log line so far whose `message` is `message`.
    pub fn has_logged(&self, message: &str) -> bool {
        self.lines().iter().any(|line| has_message(line, message))
    }

    /// Leaves out all lines so far: what is waited for has to be written from now on.
    pub fn from_now(&self) -> FromNow<'_> {
        FromNow { process: self, lines: self.follow().new_lines_only() }
    }

    async fn search<T>(
        &self,
        mut lines: Follow,
        what: &str,
        mut pick: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let search = async {
            loop {
                let Some(line) = lines.next().await else { return Err("ended without") };
                if let Some(found) = pick(&line) {
                    return Ok(found);
                }
            }
        };
        let found = tokio::time::timeout(WAIT_TIMEOUT, search)
            .await
            .unwrap_or(Err("did not write in time:"));
        found.map_err(|how| self.error(&format!("{how} {what}")))
    }
}

/// The output of a process from a certain moment on.
#[derive(Debug)]
pub struct FromNow<'a> {
    process: &'a Process,
    lines: Follow,
}

impl FromNow<'_> {
    /// Waits for a line for which `pick` gives a value, within [`WAIT_TIMEOUT`].
    pub async fn wait_for<T>(self, what: &str, pick: impl FnMut(&str) -> Option<T>) -> Result<T> {
        self.process.search(self.lines, what, pick).await
    }

    /// Waits for a JSON log line whose `message` is `message` and gives that line.
    pub async fn wait_for_message(self, message: &str) -> Result<Value> {
        let what = format!("the message {message:?}");
        self.wait_for(&what, |line| json_message(line, message)).await
    }
}

/// The JSON log line in `line`, if its `message` is `message`.
pub fn json_message(line: &str, message: &str) -> Option<Value> {
    has_message(line, message).then(|| serde_json::from_str(line).ok())?
}

/// Whether `line` is a JSON log line whose `message` is `message`. It takes less time than to parse the line.
pub fn has_message(line: &str, message: &str) -> bool {
    #[derive(Deserialize)]
    struct LogLine<'a> {
        #[serde(borrow)]
        message: Cow<'a, str>,
    }
    serde_json::from_str::<LogLine<'_>>(line).is_ok_and(|line| line.message == message)
}
