//! When to ask who works on what, and what silence means: pure decisions, with the time passed in.

use std::time::{Duration, Instant};

/// How often it is asked.
const EVERY: Duration = Duration::from_secs(10);
/// Questions that come closer are one round: several web services ask at the same time.
const SAME_ROUND: Duration = Duration::from_secs(5);
/// How long the answers may take.
const ANSWERS: Duration = Duration::from_secs(3);
/// How many rounds there are whenever we begin to listen, whatever is known until then. In the first
/// one the workers may be coming back themselves.
const AT_FIRST: u8 = 2;

/// The rounds of questions.
///
/// What counts is the question as it is heard here, from whichever web service: then the workers
/// have heard it too, and can be asked by one web service for all. A question that never gets
/// through, since the broker takes nothing, costs no job its place.
#[derive(Debug, Default)]
pub struct Rounds {
    /// When to ask next; none before we listen.
    due: Option<Instant>,
    /// How many rounds are to come although nothing is shown.
    to_come: u8,
    /// The last round, and the one before it, since we began to listen.
    last: Option<Instant>,
    before: Option<Instant>,
    /// Whether the silence in these two was looked at.
    judged: bool,
}

impl Rounds {
    /// We begin to listen. What was said before may have been missed.
    pub fn begin(&mut self, now: Instant) {
        *self = Self { due: Some(now), to_come: AT_FIRST, ..Self::default() };
    }

    /// Something is shown for the first time. It was claimed this moment.
    pub fn rest(&mut self, now: Instant) {
        self.due = self.due.map(|due| due.max(now + EVERY));
    }

    /// Whether it is time to ask. `any` says whether any job is shown.
    pub fn is_due(&self, now: Instant, any: bool) -> bool {
        (any || self.to_come > 0) && self.due.is_some_and(|due| due <= now)
    }

    /// We have asked.
    pub fn asked(&mut self, now: Instant) {
        self.due = Some(now + EVERY);
    }

    /// The question was heard.
    pub fn heard(&mut self, now: Instant) {
        if self.last.is_some_and(|last| now < last + SAME_ROUND) {
            return;
        }
        self.before = self.last.replace(now);
        self.judged = false;
        self.to_come = self.to_come.saturating_sub(1);
        self.due = Some(now + EVERY);
    }

    /// Since when nobody has claimed what is to be forgotten: two rounds have come and gone since.
    /// Once for each round.
    pub fn silent_since(&mut self, now: Instant) -> Option<Instant> {
        let over = self.last.is_some_and(|last| now >= last + ANSWERS);
        if self.judged || !over {
            return None;
        }
        self.judged = true;
        self.before
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
    fn it_is_asked_at_the_beginning_and_then_while_anything_is_shown() {
        let (mut rounds, at) = (Rounds::default(), clock());
        assert!(!rounds.is_due(at(0), true), "nobody listens yet");
        rounds.begin(at(1));
        for second in [1, 11] {
            assert!(rounds.is_due(at(second), false));
            rounds.asked(at(second));
            assert!(!rounds.is_due(at(second), false));
            rounds.heard(at(second));
        }
        assert!(!rounds.is_due(at(60), false));
        assert!(rounds.is_due(at(60), true));
        rounds.rest(at(60));
        assert!(!rounds.is_due(at(69), true));
        assert!(rounds.is_due(at(70), true));
    }

    #[test]
    fn a_question_that_was_not_heard_is_asked_again_and_condemns_nobody() {
        let (mut rounds, at) = (Rounds::default(), clock());
        rounds.begin(at(0));
        for second in [0, 10, 20, 30] {
            assert!(rounds.is_due(at(second), false));
            rounds.asked(at(second));
            assert_eq!(rounds.silent_since(at(second + 9)), None);
        }
    }

    #[test]
    fn two_rounds_of_silence_are_enough() {
        let (mut rounds, at) = (Rounds::default(), clock());
        rounds.begin(at(0));
        rounds.heard(at(0));
        assert_eq!(rounds.silent_since(at(9)), None);
        rounds.heard(at(10));
        assert_eq!(rounds.silent_since(at(12)), None);
        assert_eq!(rounds.silent_since(at(13)), Some(at(0)));
        assert_eq!(rounds.silent_since(at(14)), None);
        rounds.heard(at(20));
        assert_eq!(rounds.silent_since(at(23)), Some(at(10)));
        rounds.begin(at(24));
        rounds.heard(at(24));
        assert_eq!(rounds.silent_since(at(30)), None, "they may have answered while we were away");
    }

    #[test]
    fn many_who_ask_at_the_same_time_make_one_round() {
        let (mut rounds, at) = (Rounds::default(), clock());
        rounds.begin(at(0));
        rounds.heard(at(0));
        rounds.heard(at(1));
        rounds.heard(at(4));
        assert_eq!(rounds.silent_since(at(9)), None);
        rounds.asked(at(0));
        rounds.heard(at(8));
        assert!(!rounds.is_due(at(10), true), "another one has asked");
    }
}
