//! The standard error of a command: its lines go into the log, its end into the error message.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use pipeline::{contract::RequestId, log_messages::COMMAND_STDERR};
use tokio::io::{AsyncRead, AsyncReadExt};
use tracing::{field::display, info, warn};

/// How much of the end is kept for the error message, in bytes.
const TAIL_BYTES: usize = 2048;
/// The longest line in the log, in bytes; the rest is cut off.
const MAX_LINE_BYTES: usize = 1000;
/// How many lines go into the log in a second.
const MAX_LINES_PER_SECOND: u32 = 100;

/// Reads the standard error of a command and logs it.
#[derive(Debug)]
pub(super) struct Stderr {
    /// The request whose command writes. None between the jobs of a child that stays up.
    id: Option<RequestId>,
    tail: VecDeque<u8>,
    line: Vec<u8>,
    rate: LineRate,
}

impl Stderr {
    /// Nothing read yet, of the command for this request.
    pub(super) fn new(id: RequestId) -> Self {
        Self { id: Some(id), tail: VecDeque::new(), line: Vec::new(), rate: LineRate::default() }
    }

    /// What is read from now on belongs to another request.
    pub(super) fn begin(&mut self, id: RequestId) {
        self.belongs_to(Some(id));
        self.tail.clear();
    }

    /// What is read from now on belongs to no request.
    pub(super) fn end(&mut self) {
        self.belongs_to(None);
    }

    fn belongs_to(&mut self, id: Option<RequestId>) {
        if !self.line.is_empty() {
            self.end_line();
        }
        self.id = id;
    }

    /// Reads until the end, and keeps little of it.
    pub(super) async fn read(&mut self, from: &mut (impl AsyncRead + Unpin)) {
        let mut buffer = vec![0; 8192];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            self.take(&buffer[..read]);
        }
        self.end_line();
    }

    /// The end of what the command wrote.
    pub(super) fn tail(&self) -> String {
        let (a, b) = self.tail.as_slices();
        String::from_utf8_lossy(&[a, b].concat()).into_owned()
    }

    /// Takes what was read.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.tail.extend(bytes);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL_BYTES));
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            let room = (MAX_LINE_BYTES + 1).saturating_sub(self.line.len());
            self.line.extend(&text[..text.len().min(room)]);
            if text.len() < part.len() {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = loggable(&self.line);
        self.line.clear();
        let text = line.trim_end();
        let (logged, left_out) = self.rate.count(Instant::now());
        if let Some(lines) = left_out {
            let id = self.id.as_ref().map(display);
            warn!(
                requestId = id,
                lines, "the command writes too many lines, some were left out of the log"
            );
        }
        match &self.id {
            _ if !logged || text.is_empty() => {}
            Some(id) => info!(requestId = %id, stderr = text, "{COMMAND_STDERR}"),
            // Not in the span of the job that is about to begin.
            None => info!(parent: None, stderr = text, "{COMMAND_STDERR}"),
        }
    }
}

fn loggable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(MAX_LINE_BYTES)]);
    if line.len() > MAX_LINE_BYTES { format!("{text}...") } else { text.into_owned() }
}

/// How many lines came in the present second.
#[derive(Debug, Default)]
struct LineRate {
    since: Option<Instant>,
    lines: u32,
}

impl LineRate {
    /// Whether the next line is logged; and, with the first line of a second, how many of the last second were not.
    fn count(&mut self, now: Instant) -> (bool, Option<u32>) {
        let fresh = self.since.is_none_or(|since| now - since >= Duration::from_secs(1));
        let left_out =
            self.lines.checked_sub(MAX_LINES_PER_SECOND).filter(|lines| fresh && *lines > 0);
        if fresh {
            *self = Self { since: Some(now), lines: 0 };
        }
        self.lines = self.lines.saturating_add(1);
        (self.lines <= MAX_LINES_PER_SECOND, left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stderr() -> Stderr {
        let id = serde_json::from_str("1").unwrap();
        Stderr::new(id)
    }

    #[tokio::test]
    async fn only_the_end_is_kept() {
        let mut all = stderr();
        let text = "x".repeat(100_000) + "\nthe end";
        all.read(&mut text.as_bytes()).await;
        assert_eq!(all.tail().len(), TAIL_BYTES);
        assert!(all.tail().ends_with("x\nthe end") && all.line.capacity() < 10_000);
    }

    #[test]
    fn a_long_line_is_cut_in_the_log() {
        let mut all = stderr();
        for _ in 0..10 {
            all.take(&[b'x'; 999]);
        }
        let line = loggable(&all.line);
        assert!(line.len() == MAX_LINE_BYTES + 3 && line.ends_with("x..."), "{line}");
        all.take(b"\nshort");
        assert_eq!(loggable(&all.line), "short");
    }

    #[test]
    fn a_flood_of_lines_is_counted_and_left_out() {
        let (mut rate, start) = (LineRate::default(), Instant::now());
        let first: Vec<_> = (0..150).map(|_| rate.count(start)).collect();
        assert!(first[..100].iter().all(|line| *line == (true, None)));
        assert!(first[100..].iter().all(|line| *line == (false, None)));
        let later = start + Duration::from_secs(1);
        assert_eq!(rate.count(later), (true, Some(50)));
        assert_eq!(rate.count(later + Duration::from_secs(1)), (true, None));
    }
}
