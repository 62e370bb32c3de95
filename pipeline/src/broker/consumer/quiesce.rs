//! Quiesce: how long messages may still come before a subscription is cancelled.

use std::time::Duration;

/// How long messages may be on their way that the broker sends for settlements it has read, if it answers at once.
const QUIESCE_TIME: Duration = Duration::from_millis(100);
/// How long at most, if it takes its time to answer.
const MAX_QUIESCE_TIME: Duration = Duration::from_millis(500);
/// How many times as long as an answer of the broker a message may be on its way: several of its processes handle it.
const QUIESCE_ANSWERS: u32 = 4;

/// How long messages may be on their way from a broker that takes so long for an answer.
pub(super) fn quiesce_time(answer: Duration) -> Duration {
    (QUIESCE_ANSWERS * answer).clamp(QUIESCE_TIME, MAX_QUIESCE_TIME)
}
