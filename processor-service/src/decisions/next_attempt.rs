//! The next attempt at a request: which waiting queue its message goes to, and when the attempt may start.

use std::time::{Duration, SystemTime};

use pipeline::contract::{ErrorBody, Message};

use crate::decisions::{incoming::IncomingRequest, policy::Policy};

/// The longest delay that a processor may ask for before the next attempt.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The next attempt at a request.
#[derive(Debug)]
pub(crate) struct NextAttempt {
    /// The request, directed to a waiting queue.
    pub(crate) message: Message,
    /// Why this attempt failed.
    pub(crate) error: ErrorBody,
    /// When the next attempt may start.
    pub(crate) at: SystemTime,
    /// What becomes of the delay that the work has asked for, if it waits longer.
    pub(crate) longer: Option<LongerDelay>,
}

/// A delay that is longer than the one that was asked for: waiting queues are steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LongerDelay {
    pub(crate) asked: Duration,
    pub(crate) delay: Duration,
}

/// The next attempt, after the delay that was asked for or the one of `RETRY_DELAYS`. No waiting queue has
/// a longer delay than the longest of those: the message of a longer one says when it may start.
pub(super) fn next_attempt(
    request: IncomingRequest<'_>,
    error: ErrorBody,
    requested_delay: Option<Duration>,
    now: SystemTime,
    policy: &Policy,
) -> NextAttempt {
    let wanted = match requested_delay {
        None => policy.retry_delays.after(request.attempt()),
        Some(delay) => delay.min(MAX_RETRY_DELAY),
    };
    let delay = policy.retry_delays.reaching(wanted);
    let message = request.next_attempt(delay, wanted, now);
    let waited = policy.retry_delays.waited(wanted);
    let longer = requested_delay.filter(|asked| *asked < waited);
    let longer = longer.map(|asked| LongerDelay { asked, delay: waited });
    NextAttempt { message, error, at: now + waited, longer }
}

#[cfg(test)]
mod tests {
    use pipeline::{
        contract::{codes, headers},
        topology::RetryDelays,
    };

    use super::*;
    use crate::decisions::samples::{fresh, properties};

    const FINISHED: SystemTime = SystemTime::UNIX_EPOCH;

    /// The attempt after the second one, after which the work has asked for this delay in seconds.
    fn after(requested: Option<u64>) -> NextAttempt {
        let properties = properties(&[(headers::ATTEMPT, 2.into())]);
        let retry_delays = RetryDelays::new([5, 1].map(Duration::from_secs).to_vec()).unwrap();
        let policy = Policy { max_attempts: 3, max_deliveries: 5, retry_delays, result_limit: 10 };
        let error = ErrorBody::new(codes::TRANSIENT, "not now");
        let delay = requested.map(Duration::from_secs);
        next_attempt(fresh(&properties), error, delay, FINISHED, &policy)
    }

    /// The delay in seconds until the third attempt, the queue it waits in, and whether the message
    /// says when it may start.
    fn retried(requested: Option<u64>) -> (u64, String, bool) {
        let next = after(requested);
        let headers = &next.message.properties.headers;
        assert_eq!(headers.number(headers::ATTEMPT), Some(3));
        let not_before = headers::time(headers, headers::NOT_BEFORE);
        assert!(not_before.is_none_or(|at| at <= next.at));
        let pause = next.at.duration_since(FINISHED).unwrap().as_secs();
        (pause, next.message.exchange.into_owned(), not_before.is_some())
    }

    #[test]
    fn a_transient_failure_is_retried_after_the_default_or_the_requested_delay() {
        let queue = |millis: u64| format!("processing.retry.{millis}");
        assert_eq!(retried(None), (1, queue(1000), false));
        assert_eq!(retried(Some(0)), (1, queue(1000), false));
        assert_eq!(retried(Some(4)), (5, queue(5000), false));
        assert_eq!(retried(Some(6)), (6, queue(5000), true));
        assert_eq!(retried(Some(7)), (10, queue(5000), true));
        let month = MAX_RETRY_DELAY.as_secs();
        assert_eq!(retried(Some(u64::MAX)), (month, queue(5000), true));
    }

    #[test]
    fn a_delay_that_is_longer_than_the_requested_one_is_told() {
        let longer = |seconds: Option<u64>| {
            after(seconds).longer.map(|longer| (longer.asked.as_secs(), longer.delay.as_secs()))
        };
        assert_eq!([4, 7].map(|asked| longer(Some(asked))), [Some((4, 5)), Some((7, 10))]);
        assert_eq!([None, Some(1), Some(5), Some(6)].map(longer), [None; 4]);
    }
}
