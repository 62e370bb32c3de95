//! Keeps the output lines of a child process for readers that come later.

use std::{
    io::{BufRead, BufReader, PipeReader},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

/// Lines in the order in which they came, and whether more can come.
#[derive(Debug, Default)]
pub(super) struct History {
    lines: Mutex<Vec<String>>,
    state: watch::Sender<State>,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    lines: usize,
    closed: bool,
}

impl History {
    /// Reads lines in a thread of its own until the last writer is gone.
    pub(super) fn read_from(self: &Arc<Self>, pipe: PipeReader) {
        let history = Arc::clone(self);
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                history.push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
            history.close();
        });
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.locked().clone()
    }

    /// Tells readers that no line will follow.
    pub(super) fn close(&self) {
        self.state.send_modify(|state| state.closed = true);
    }

    /// Waits until no line can follow.
    pub(super) async fn closed(&self) {
        // The sender is a part of `self`, so the wait ends only with the close.
        let _ = self.state.subscribe().wait_for(|state| state.closed).await;
    }

    fn push(&self, line: String) {
        let mut lines = self.locked();
        lines.push(line);
        let count = lines.len();
        drop(lines);
        self.state.send_modify(|state| state.lines = count);
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a process's lines from the first one on, waiting for those that are yet to come.
#[derive(Debug)]
pub struct Follow {
    history: Arc<History>,
    state: watch::Receiver<State>,
    next: usize,
}

impl Follow {
    pub(super) fn new(history: Arc<History>) -> Self {
        let state = history.state.subscribe();
        Self { history, state, next: 0 }
    }

    /// Leaves out the first `lines`.
    #[must_use]
    pub(super) fn skip(mut self, lines: usize) -> Self {
        self.next += lines;
        self
    }

    /// The next line, or none when the process has closed its output. Nothing is lost when the wait is given up.
    pub async fn next(&mut self) -> Option<String> {
        let next = self.next;
        self.state.wait_for(|state| state.lines > next || state.closed).await.ok()?;
        let line = self.history.locked().get(next).cloned()?;
        self.next += 1;
        Some(line)
    }
}
