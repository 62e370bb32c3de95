//! Reorder buffer: holds results until all those of earlier lines are written.

use std::collections::BTreeMap;

use super::submit_line::LineResult;

/// The most lines that are in flight or wait in the buffer.
const MAX_LINES: u64 = 4096;
/// No line is begun while results of this size wait. Those in flight are not counted.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// Puts results in the order of their lines. Its memory is bounded: while one line takes long, others
/// go on only as long as there is room.
#[derive(Debug, Default)]
pub(super) struct ReorderBuffer {
    /// How many positions have been given out.
    reserved: u64,
    /// How many results have been taken out: the position of the next one.
    next: u64,
    waiting: BTreeMap<u64, LineResult>,
    waiting_bytes: usize,
}

impl ReorderBuffer {
    /// Whether another line may begin.
    pub(super) fn has_room(&self) -> bool {
        self.reserved - self.next < MAX_LINES && self.waiting_bytes < MAX_WAITING_BYTES
    }

    /// The position of the next line.
    pub(super) fn reserve(&mut self) -> u64 {
        self.reserved += 1;
        self.reserved - 1
    }

    /// Stores the result of a position.
    pub(super) fn insert(&mut self, position: u64, result: LineResult) {
        self.waiting_bytes += result.json.len();
        self.waiting.insert(position, result);
    }

    /// Takes out the results that have all earlier ones before them.
    pub(super) fn drain_ready(&mut self) -> impl Iterator<Item = LineResult> {
        std::iter::from_fn(|| {
            let result = self.waiting.remove(&self.next)?;
            self.next += 1;
            self.waiting_bytes -= result.json.len();
            Some(result)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(json: &str) -> LineResult {
        LineResult { json: json.to_owned(), line: 0, completed: true }
    }

    fn ready(buffer: &mut ReorderBuffer) -> Vec<String> {
        buffer.drain_ready().map(|result| result.json).collect()
    }

    #[test]
    fn results_come_out_in_the_order_of_their_lines() {
        let mut buffer = ReorderBuffer::default();
        let positions = [buffer.reserve(), buffer.reserve(), buffer.reserve()];
        buffer.insert(positions[2], result("c"));
        buffer.insert(positions[1], result("b"));
        assert!(ready(&mut buffer).is_empty());
        buffer.insert(positions[0], result("a"));
        assert_eq!(ready(&mut buffer), ["a", "b", "c"]);
        assert!(ready(&mut buffer).is_empty());
    }

    #[test]
    fn a_slow_line_stops_the_others_only_when_the_buffer_is_full() {
        let mut buffer = ReorderBuffer::default();
        let slow = buffer.reserve();
        while buffer.has_room() {
            let position = buffer.reserve();
            buffer.insert(position, result("x"));
        }
        assert_eq!(buffer.reserved, MAX_LINES);
        buffer.insert(slow, result("x"));
        assert_eq!(ready(&mut buffer).len() as u64, MAX_LINES);
        assert!(buffer.has_room());

        let large = "x".repeat(MAX_WAITING_BYTES);
        let positions = [buffer.reserve(), buffer.reserve()];
        buffer.insert(positions[1], result(&large));
        assert!(!buffer.has_room());
        buffer.insert(positions[0], result("x"));
        assert_eq!(ready(&mut buffer).len(), 2);
        assert!(buffer.has_room());
    }
}
