//! Crowd: whether messages come so fast that a commit should wait for more of them. Pure decisions.

use std::time::{Duration, Instant};

/// How long to wait for more messages while there is a crowd.
pub(crate) const GATHER_TIME: Duration = Duration::from_millis(4);
/// For how long messages are counted.
const WINDOW: Duration = Duration::from_millis(20);
/// So many messages in a [`WINDOW`] are a crowd: about four in each [`GATHER_TIME`].
const MIN_CROWD: usize = 20;

/// Counts messages.
#[derive(Debug)]
pub(crate) struct Crowd {
    since: Instant,
    count: usize,
    is_crowded: bool,
}

impl Crowd {
    /// No messages yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, count: 0, is_crowded: false }
    }

    /// Notes so many messages, and tells whether there is a crowd.
    pub(crate) fn note(&mut self, count: usize, now: Instant) -> bool {
        self.count += count;
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= WINDOW {
            self.is_crowded = self.count as f64 * WINDOW.as_secs_f64()
                >= MIN_CROWD as f64 * elapsed.as_secs_f64();
            (self.since, self.count) = (now, 0);
        }
        self.is_crowded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_many_messages_in_a_short_time_are_a_crowd() {
        let began = Instant::now();
        let mut crowd = Crowd::new(began);
        let noted = |crowd: &mut Crowd, millis, count| {
            crowd.note(count, began + Duration::from_millis(millis))
        };
        assert!(!noted(&mut crowd, 1, 100), "it is not known yet");
        assert!(noted(&mut crowd, 20, 1));
        assert!(noted(&mut crowd, 30, 1));
        assert!(!noted(&mut crowd, 40, 1), "two in 20 ms");
        assert!(!noted(&mut crowd, 5000, 19), "after a long time without any");
    }
}
