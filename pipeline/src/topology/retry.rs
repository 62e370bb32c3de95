//! Retry queues, where requests wait for their next attempt: one queue for each delay, since in a single
//! queue a message with a long delay would block those behind it.

use std::time::Duration;

use crate::topology::{
    names::EXCHANGE,
    objects::{Argument, Exchange, ExchangeKind, Queue, QueueType},
};

/// The prefix of the names of the retry queues and of their exchanges.
pub const RETRY: &str = "processing.retry.";

/// The longest queue has this delay at least. A request that has to wait for longer than all delays passes through the longest
/// one again and again, and with shorter ones that would keep the broker and the workers busy.
const MIN_LONGEST_DELAY: Duration = Duration::from_secs(1);

/// The pauses before a request is tried again, in the order of its attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryDelays(Vec<Duration>);

impl RetryDelays {
    /// These pauses; `None` if there are none.
    pub fn new(delays: Vec<Duration>) -> Option<Self> {
        (!delays.is_empty()).then_some(Self(delays))
    }

    /// The pause after this attempt, counted from 1. The last one is repeated.
    pub fn after(&self, attempt: i64) -> Duration {
        let at = usize::try_from(attempt.saturating_sub(1)).unwrap_or(0);
        self.0[at.min(self.0.len() - 1)]
    }

    /// The shortest pause of at least this length, or else the longest one.
    pub fn reaching(&self, wanted: Duration) -> Duration {
        let steps = self.steps();
        let enough = steps.iter().find(|delay| **delay >= wanted);
        enough.or(steps.last()).copied().unwrap_or(wanted)
    }

    /// How long a request waits that is to wait this long at least: again and again in the longest queue, and at last in the
    /// one with the shortest pause that is long enough.
    pub fn waited(&self, wanted: Duration) -> Duration {
        let longest = self.reaching(Duration::MAX);
        let rounds = wanted.as_nanos().checked_div(longest.as_nanos()).unwrap_or(0);
        let in_longest = longest.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX));
        match wanted.saturating_sub(in_longest) {
            Duration::ZERO if rounds > 0 => in_longest,
            rest => in_longest.saturating_add(self.reaching(rest)),
        }
    }

    /// The delays of the queues: each pause once, the shortest first, and one second if all are shorter.
    pub fn steps(&self) -> Vec<Duration> {
        let mut steps = self.0.clone();
        if steps.iter().all(|delay| *delay < MIN_LONGEST_DELAY) {
            steps.push(MIN_LONGEST_DELAY);
        }
        steps.sort_unstable();
        steps.dedup();
        steps
    }
}

/// The exchange that leads into the queue of this pause, and the queue's name.
pub fn retry(delay: Duration) -> String {
    format!("{RETRY}{}", delay.as_millis())
}

/// The exchange of a retry queue. It is a fanout, so messages keep their routing key.
pub(super) fn exchange(delay: Duration) -> Exchange {
    Exchange::new(retry(delay), ExchangeKind::Fanout)
}

/// A retry queue. No program consumes it: when the time is over, the broker publishes a message back
/// to the working exchange, under its own routing key.
pub(super) fn queue(delay: Duration, kind: QueueType) -> Queue {
    let millis = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
    let name = retry(delay);
    let queue = Queue::new(&name, kind)
        .with_argument("x-message-ttl", Argument::Number(millis))
        .with_argument("x-dead-letter-exchange", Argument::Text(EXCHANGE))
        .with_argument("x-overflow", Argument::Text("reject-publish"))
        .bound_to(&name, "");
    let queue = match kind {
        QueueType::Quorum => {
            queue.with_argument("x-dead-letter-strategy", Argument::Text("at-least-once"))
        }
        QueueType::Classic => queue,
    };
    Queue { idle: true, ..queue }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(seconds: &[u64]) -> RetryDelays {
        RetryDelays::new(seconds.iter().copied().map(Duration::from_secs).collect()).unwrap()
    }

    #[test]
    fn each_attempt_has_its_pause_and_the_last_is_repeated() {
        let delays = delays(&[1, 10, 60]);
        let pauses = [i64::MIN, 0, 1, 2, 3, 4, i64::MAX].map(|n| delays.after(n).as_secs());
        assert_eq!(pauses, [1, 1, 1, 10, 60, 60, 60]);
    }

    #[test]
    fn a_request_waits_for_whole_steps() {
        let delays = delays(&[1, 10, 60]);
        for (wanted, waited) in [(0, 1), (1, 1), (2, 10), (60, 60), (61, 61), (75, 120), (120, 120)]
        {
            let expected = Duration::from_secs(waited);
            assert_eq!(delays.waited(Duration::from_secs(wanted)), expected, "{wanted} s");
        }
    }

    #[test]
    fn a_requested_delay_takes_the_shortest_pause_that_is_long_enough() {
        let delays = delays(&[60, 1, 10]);
        let reached = [0, 1, 2, 10, 60, 61].map(|s| delays.reaching(Duration::from_secs(s)));
        assert_eq!(reached.map(|pause| pause.as_secs()), [1, 1, 10, 10, 60, 60]);
    }

    #[test]
    fn a_wait_that_is_longer_than_all_pauses_goes_round_once_a_second_at_most() {
        let zero = delays(&[0]);
        assert_eq!(zero.steps(), [0, 1].map(Duration::from_secs));
        assert_eq!(zero.after(1), Duration::ZERO);
        assert_eq!(zero.reaching(Duration::ZERO), Duration::ZERO, "the next attempt is at once");
        assert_eq!(zero.reaching(Duration::from_secs(30)), Duration::from_secs(1));
    }

    #[test]
    fn a_pause_that_is_named_twice_has_one_queue() {
        assert_eq!(delays(&[5, 1, 5]).steps(), [1, 5].map(Duration::from_secs));
        assert_eq!(retry(Duration::from_millis(1500)), "processing.retry.1500");
    }
}
