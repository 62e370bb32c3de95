//! Poll schedule: when to ask workers what they work on, and when silence means that a job is gone.
//!
//! Pure decisions, with the time passed in. What counts is a `who` message that was received here, from
//! whichever web service it came: then the workers have received it too. A message that never got through,
//! since the broker takes nothing, costs no job its place.

use std::time::{Duration, Instant};

/// The pause between two polls.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// Polls that are closer than this count as one: several web services ask at the same time.
const SAME_POLL_WINDOW: Duration = Duration::from_secs(5);
/// How long the workers may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// The number of polls after each subscription, whatever is known by then. During the first one the workers
/// may themselves be reconnecting.
const INITIAL_POLLS: u8 = 2;

/// When the workers are and were asked.
#[derive(Debug, Default)]
pub struct PollSchedule {
    /// When to ask next; none before the first subscription.
    due: Option<Instant>,
    /// How many polls are still to come although no job is known.
    initial_polls_left: u8,
    /// When the latest poll was received since the subscription,
    last: Option<Instant>,
    /// and when the one before it was.
    previous: Option<Instant>,
    /// Whether [`Self::unclaimed_since`] has been answered for the latest poll.
    is_evaluated: bool,
}

impl PollSchedule {
    /// The event queue was subscribed. Events before that may have been missed.
    pub fn subscribed(&mut self, now: Instant) {
        *self = Self { due: Some(now), initial_polls_left: INITIAL_POLLS, ..Self::default() };
    }

    /// The first job became known. It was claimed just now, so the next poll can wait.
    pub fn postpone(&mut self, now: Instant) {
        self.due = self.due.map(|due| due.max(now + POLL_INTERVAL));
    }

    /// Whether it is time to ask. `any_jobs` tells whether any job is known.
    pub fn is_due(&self, now: Instant, any_jobs: bool) -> bool {
        (any_jobs || self.initial_polls_left > 0) && self.due.is_some_and(|due| due <= now)
    }

    /// This web service has sent `who`.
    pub fn sent(&mut self, now: Instant) {
        self.due = Some(now + POLL_INTERVAL);
    }

    /// A `who` was received, from this or another web service.
    pub fn received(&mut self, now: Instant) {
        if self.last.is_some_and(|last| now < last + SAME_POLL_WINDOW) {
            return;
        }
        self.previous = self.last.replace(now);
        self.is_evaluated = false;
        self.initial_polls_left = self.initial_polls_left.saturating_sub(1);
        self.due = Some(now + POLL_INTERVAL);
    }

    /// A job that was last claimed before this time is gone: its worker has let two polls pass. Answered
    /// once for each poll, after the workers had time to answer.
    pub fn unclaimed_since(&mut self, now: Instant) -> Option<Instant> {
        let is_answered = self.last.is_some_and(|last| now >= last + ANSWER_TIMEOUT);
        if self.is_evaluated || !is_answered {
            return None;
        }
        self.is_evaluated = true;
        self.previous
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> impl Fn(u64) -> Instant {
        let start = Instant::now();
        move |seconds| start + Duration::from_secs(seconds)
    }

    #[test]
    fn polls_follow_a_subscription_and_go_on_while_jobs_are_known() {
        let (mut schedule, at) = (PollSchedule::default(), clock());
        assert!(!schedule.is_due(at(0), true), "not subscribed yet");
        schedule.subscribed(at(1));
        for second in [1, 11] {
            assert!(schedule.is_due(at(second), false));
            schedule.sent(at(second));
            assert!(!schedule.is_due(at(second), false));
            schedule.received(at(second));
        }
        assert!(!schedule.is_due(at(60), false));
        assert!(schedule.is_due(at(60), true));
        schedule.postpone(at(60));
        assert!(!schedule.is_due(at(69), true));
        assert!(schedule.is_due(at(70), true));
    }

    #[test]
    fn a_poll_that_was_not_received_is_repeated_and_removes_no_job() {
        let (mut schedule, at) = (PollSchedule::default(), clock());
        schedule.subscribed(at(0));
        for second in [0, 10, 20, 30] {
            assert!(schedule.is_due(at(second), false));
            schedule.sent(at(second));
            assert_eq!(schedule.unclaimed_since(at(second + 9)), None);
        }
    }

    #[test]
    fn two_polls_without_an_answer_remove_a_job() {
        let (mut schedule, at) = (PollSchedule::default(), clock());
        schedule.subscribed(at(0));
        schedule.received(at(0));
        assert_eq!(schedule.unclaimed_since(at(9)), None);
        schedule.received(at(10));
        assert_eq!(schedule.unclaimed_since(at(12)), None);
        assert_eq!(schedule.unclaimed_since(at(13)), Some(at(0)));
        assert_eq!(schedule.unclaimed_since(at(14)), None);
        schedule.received(at(20));
        assert_eq!(schedule.unclaimed_since(at(23)), Some(at(10)));
        schedule.subscribed(at(24));
        schedule.received(at(24));
        assert_eq!(schedule.unclaimed_since(at(30)), None, "answers may have been missed");
    }

    #[test]
    fn polls_at_the_same_time_count_as_one() {
        let (mut schedule, at) = (PollSchedule::default(), clock());
        schedule.subscribed(at(0));
        schedule.received(at(0));
        schedule.received(at(1));
        schedule.received(at(4));
        assert_eq!(schedule.unclaimed_since(at(9)), None);
        schedule.sent(at(0));
        schedule.received(at(8));
        assert!(!schedule.is_due(at(10), true), "another web service has asked");
    }
}
