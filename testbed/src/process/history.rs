//! Keeps the output lines of a child process for readers that come later.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, PipeReader},
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

/// How many bytes are read at once, the capacity of a pipe: a program under load writes many lines in a moment.
const READ_BYTES: usize = 64 << 10;

/// Lines in the order in which they came, and whether more can come.
#[derive(Debug)]
pub(super) struct History {
    /// How many lines are kept: the latest.
    limit: usize,
    kept: Mutex<Kept>,
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct Kept {
    /// How many lines came before these.
    dropped: usize,
    lines: VecDeque<String>,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    lines: usize,
    closed: bool,
}

impl Kept {
    /// How many lines came so far.
    fn count(&self) -> usize {
        self.dropped + self.lines.len()
    }
}

impl History {
    /// Keeps this many lines.
    pub(super) fn of(limit: usize) -> Self {
        Self { limit, kept: Mutex::default(), state: watch::Sender::default() }
    }

    /// Reads lines in a thread of its own until the last writer is gone.
    pub(super) fn read_from(self: &Arc<Self>, pipe: PipeReader) {
        let history = Arc::clone(self);
        std::thread::spawn(move || {
            let mut pipe = BufReader::with_capacity(READ_BYTES, pipe);
            let (mut line, mut lines) = (Vec::new(), Vec::new());
            while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
                // Lines that came together wake readers once.
                if !pipe.buffer().contains(&b'\n') {
                    history.push(mem::take(&mut lines));
                }
            }
            history.close();
        });
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.locked().lines.iter().cloned().collect()
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

    fn push(&self, lines: Vec<String>) {
        let mut kept = self.locked();
        kept.lines.extend(lines);
        let surplus = kept.lines.len().saturating_sub(self.limit);
        kept.lines.drain(..surplus);
        kept.dropped += surplus;
        let count = kept.count();
        drop(kept);
        self.state.send_modify(|state| state.lines = count);
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Leaves out the lines that came so far.
    #[must_use]
    pub(super) fn new_lines_only(mut self) -> Self {
        self.next = self.history.locked().count();
        self
    }

    /// The next line that is kept, or none when the process has closed its output. Nothing is lost when the wait is
    /// given up.
    pub async fn next(&mut self) -> Option<String> {
        let next = self.next;
        self.state.wait_for(|state| state.lines > next || state.closed).await.ok()?;
        let kept = self.history.locked();
        let next = next.max(kept.dropped);
        let line = kept.lines.get(next - kept.dropped).cloned()?;
        drop(kept);
        self.next = next + 1;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_many_lines_the_latest_are_kept_and_a_slow_reader_goes_on_with_them() {
        let history = Arc::new(History::of(2));
        let mut reader = Follow::new(Arc::clone(&history));
        history.push(vec!["1".into()]);
        assert_eq!(reader.next().await.as_deref(), Some("1"));
        history.push(["2", "3"].map(String::from).into());
        history.push(["4", "5"].map(String::from).into());
        assert_eq!(history.lines(), ["4", "5"]);
        let mut later = Follow::new(Arc::clone(&history)).new_lines_only();
        history.push(vec!["6".into()]);
        history.close();
        assert_eq!(reader.next().await.as_deref(), Some("5"));
        assert_eq!(reader.next().await.as_deref(), Some("6"));
        assert_eq!(later.next().await.as_deref(), Some("6"));
        assert_eq!(later.next().await, None);
    }
}
