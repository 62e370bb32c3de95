//! What a command writes to standard error: lines for the log, and the end of it for the error's message.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use pipeline::contract::RequestId;
use tokio::io::{AsyncRead, AsyncReadExt};
use tracing::{info, warn};

/// How much of the end is kept, in bytes.
const TAIL: usize = 2048;
/// The longest line in the log, in bytes; the rest of it is left out there.
const LONGEST_LINE: usize = 1000;
/// How many lines a second go into the log.
const LINES: u32 = 100;

/// Reads and logs.
#[derive(Debug)]
pub(super) struct Stderr {
    id: RequestId,
    tail: VecDeque<u8>,
    line: Vec<u8>,
    meter: Meter,
}

impl Stderr {
    /// Nothing so far of the command for this request.
    pub(super) fn new(id: RequestId) -> Self {
        Self { id, tail: VecDeque::new(), line: Vec::new(), meter: Meter::default() }
    }

    /// Reads until the end, however much that is.
    pub(super) async fn read(&mut self, from: &mut (impl AsyncRead + Unpin)) {
        let mut some = vec![0; 8192];
        while let Ok(read @ 1..) = from.read(&mut some).await {
            self.take(&some[..read]);
        }
        self.end_line();
    }

    /// The end of what was written.
    pub(super) fn tail(&self) -> String {
        let (a, b) = self.tail.as_slices();
        String::from_utf8_lossy(&[a, b].concat()).into_owned()
    }

    fn take(&mut self, bytes: &[u8]) {
        self.tail.extend(bytes);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            let room = (LONGEST_LINE + 1).saturating_sub(self.line.len());
            self.line.extend(&text[..text.len().min(room)]);
            if text.len() < part.len() {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = shown(&self.line);
        self.line.clear();
        let (id, text) = (&self.id, line.trim_end());
        let (now, left_out) = self.meter.count(Instant::now());
        if let Some(lines) = left_out {
            warn!(requestId = %id, lines, "the command writes too fast, lines were left out");
        }
        if now && !text.is_empty() {
            info!(requestId = %id, stderr = text, "the command says");
        }
    }
}

fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(LONGEST_LINE)]);
    if line.len() > LONGEST_LINE { format!("{text}...") } else { text.into_owned() }
}

/// How many lines were logged since when.
#[derive(Debug, Default)]
struct Meter {
    since: Option<Instant>,
    lines: u32,
}

impl Meter {
    /// Whether the next line is logged, and how many before it were not, once that is known.
    fn count(&mut self, now: Instant) -> (bool, Option<u32>) {
        let fresh = self.since.is_none_or(|since| now - since >= Duration::from_secs(1));
        let left_out = self.lines.checked_sub(LINES).filter(|lines| fresh && *lines > 0);
        if fresh {
            *self = Self { since: Some(now), lines: 0 };
        }
        self.lines = self.lines.saturating_add(1);
        (self.lines <= LINES, left_out)
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
        assert_eq!(all.tail().len(), TAIL);
        assert!(all.tail().ends_with("x\nthe end") && all.line.capacity() < 10_000);
    }

    #[test]
    fn a_long_line_is_cut_in_the_log() {
        let mut all = stderr();
        for _ in 0..10 {
            all.take(&[b'x'; 999]);
        }
        let line = shown(&all.line);
        assert!(line.len() == LONGEST_LINE + 3 && line.ends_with("x..."), "{line}");
        all.take(b"\nshort");
        assert_eq!(shown(&all.line), "short");
    }

    #[test]
    fn a_flood_of_lines_is_counted_and_left_out() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        let first: Vec<_> = (0..150).map(|_| meter.count(start)).collect();
        assert!(first[..100].iter().all(|line| *line == (true, None)));
        assert!(first[100..].iter().all(|line| *line == (false, None)));
        let later = start + Duration::from_secs(1);
        assert_eq!(meter.count(later), (true, Some(50)));
        assert_eq!(meter.count(later + Duration::from_secs(1)), (true, None));
    }
}
