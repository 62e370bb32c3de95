//! Results in the order of their lines, whenever they come.

use std::collections::BTreeMap;

use super::task::Outcome;

/// How many results wait at most for one before them.
const MOST: u64 = 4096;
/// How many bytes of results wait at most, not counting those still under way.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// Puts results in order. Its memory is bounded: where one line takes long, the others go on until
/// there is no more room, and then wait.
#[derive(Debug, Default)]
pub(super) struct Order {
    promised: u64,
    written: u64,
    waiting: BTreeMap<u64, Outcome>,
    bytes: usize,
}

impl Order {
    /// Whether one more may be promised.
    pub(super) fn has_room(&self) -> bool {
        self.promised - self.written < MOST && self.bytes < MOST_BYTES
    }

    /// The place of the next line.
    pub(super) fn promise(&mut self) -> u64 {
        self.promised += 1;
        self.promised - 1
    }

    /// Takes the result of a place.
    pub(super) fn put(&mut self, place: u64, outcome: Outcome) {
        self.bytes += outcome.json.len();
        self.waiting.insert(place, outcome);
    }

    /// The results before which none is missing, each once.
    pub(super) fn ready(&mut self) -> impl Iterator<Item = Outcome> {
        std::iter::from_fn(|| {
            let outcome = self.waiting.remove(&self.written)?;
            self.written += 1;
            self.bytes -= outcome.json.len();
            Some(outcome)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(json: &str) -> Outcome {
        Outcome { json: json.to_owned(), line: 0, completed: true }
    }

    fn ready(order: &mut Order) -> Vec<String> {
        order.ready().map(|outcome| outcome.json).collect()
    }

    #[test]
    fn results_come_out_in_the_order_of_their_lines() {
        let mut order = Order::default();
        let places = [order.promise(), order.promise(), order.promise()];
        order.put(places[2], outcome("c"));
        order.put(places[1], outcome("b"));
        assert!(ready(&mut order).is_empty());
        order.put(places[0], outcome("a"));
        assert_eq!(ready(&mut order), ["a", "b", "c"]);
        assert!(ready(&mut order).is_empty());
    }

    #[test]
    fn a_slow_line_stops_the_others_only_when_there_is_no_more_room() {
        let mut order = Order::default();
        let slow = order.promise();
        while order.has_room() {
            let place = order.promise();
            order.put(place, outcome("x"));
        }
        assert_eq!(order.promised, MOST);
        order.put(slow, outcome("x"));
        assert_eq!(ready(&mut order).len() as u64, MOST);
        assert!(order.has_room());

        let large = "x".repeat(MOST_BYTES);
        let places = [order.promise(), order.promise()];
        order.put(places[1], outcome(&large));
        assert!(!order.has_room());
        order.put(places[0], outcome("x"));
        assert_eq!(ready(&mut order).len(), 2);
        assert!(order.has_room());
    }
}
