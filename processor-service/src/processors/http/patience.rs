//! Patience: what becomes of a request whose call has failed while the endpoint is down. Pure decisions.

use std::time::Duration;

use crate::processors::http::response::FailureKind;

/// How long a request goes on whose own calls reach something and fail. They may be the request's own fault, and others
/// wait behind it.
const MAX_WAIT_AFTER_CALL: Duration = Duration::from_secs(60);
/// How often a request goes back in each attempt while nothing does its work for any other. After that the failure counts, so
/// that one which always breaks the endpoint ends, too. Together that is about as long as one that waits until `JOB_TIMEOUT` is
/// over.
const MAX_HAND_BACKS: u32 = 20;

/// What becomes of a request whose call has failed in a way that is no attempt, since the endpoint is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It waits, and is tried again.
    Wait,
    /// It goes back to the end of its queue, so that another one can try.
    HandBack,
    /// The failure is an attempt all the same.
    Attempt,
}

/// Decides by the kind of the last failure, how long the request's own calls have reached something and failed, and how
/// often it went back before.
pub(super) fn after_failure(kind: FailureKind, failing_for: Duration, hand_backs: u32) -> Next {
    match kind {
        // Nothing was sent, so it is certainly not this request that keeps the endpoint down.
        FailureKind::NoConnection => Next::Wait,
        _ if failing_for < MAX_WAIT_AFTER_CALL => Next::Wait,
        FailureKind::Away if hand_backs < MAX_HAND_BACKS => Next::HandBack,
        FailureKind::Away | FailureKind::Answered => Next::Attempt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_request_of_which_nothing_was_sent_waits_as_long_as_it_may() {
        assert_eq!(after_failure(FailureKind::NoConnection, LONG, 1000), Next::Wait);
    }

    #[test]
    fn a_request_whose_calls_break_off_for_a_minute_gives_way_to_another_one() {
        let after = |seconds| after_failure(FailureKind::Away, Duration::from_secs(seconds), 0);
        assert_eq!((after(59), after(60)), (Next::Wait, Next::HandBack));
    }

    #[test]
    fn a_request_does_not_give_way_for_ever() {
        let after = |hand_backs| after_failure(FailureKind::Away, LONG, hand_backs);
        assert_eq!((after(19), after(20)), (Next::HandBack, Next::Attempt));
    }

    #[test]
    fn a_failure_that_the_endpoint_answers_with_is_an_attempt_after_a_minute() {
        let after = |seconds| after_failure(FailureKind::Answered, Duration::from_secs(seconds), 0);
        assert_eq!((after(59), after(60)), (Next::Wait, Next::Attempt));
    }
}
