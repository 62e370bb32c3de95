//! Names of the headers that are ours, and of those we read that are not. All are optional; `x-*`
//! belongs to the broker.

/// Which attempt this is, counted from 1.
pub const ATTEMPT: &str = "slowlane-attempt";
/// Which run this is: 0, and one more for each replay.
pub const RUN: &str = "slowlane-run";
/// How often the message had been delivered before it was last published.
pub const DELIVERIES: &str = "slowlane-deliveries";
/// How often the broker has delivered the message before; its own, on quorum queues alone.
pub const DELIVERY_COUNT: &str = "x-delivery-count";
/// How often the broker has given the message to a consumer; its own, on quorum queues of those releases (from 4.3)
/// that count as a delivery only what was not handed back.
pub const ACQUIRED_COUNT: &str = "x-acquired-count";
/// Why the broker itself took the message out of a queue for the first time: `delivery_limit`, `expired`,
/// `rejected`. One that has waited for a retry was taken out of the waiting queue first.
pub const FIRST_DEATH_REASON: &str = "x-first-death-reason";
/// Out of which queue.
pub const FIRST_DEATH_QUEUE: &str = "x-first-death-queue";
/// The same for the last time. Brokers before 3.13 have it only in [`DEATHS`]; there it is read from.
pub const LAST_DEATH_REASON: &str = "x-last-death-reason";
/// Out of which queue.
pub const LAST_DEATH_QUEUE: &str = "x-last-death-queue";
/// All times that the broker took the message out of a queue, the latest first.
pub const DEATHS: &str = "x-death";
/// Who did the work: `host:pid/slot`.
pub const WORKER: &str = "slowlane-worker";
/// When the work began, RFC 3339 UTC with milliseconds.
pub const STARTED_AT: &str = "slowlane-started-at";
/// When the work ended, RFC 3339 UTC with milliseconds.
pub const FINISHED_AT: &str = "slowlane-finished-at";
/// When it is too late to begin with the work, RFC 3339 UTC with milliseconds.
pub const EXPIRES_AT: &str = "slowlane-expires-at";
/// When the next attempt may begin at the earliest, RFC 3339 UTC with milliseconds.
pub const NOT_BEFORE: &str = "slowlane-not-before";
/// Why a message was handed to the failed queue.
pub const REASON: &str = "slowlane-reason";
/// The error message that belongs to [`REASON`].
pub const ERROR: &str = "slowlane-error";
/// The trace this request belongs to, see [`TraceParent`](super::TraceParent).
pub const TRACEPARENT: &str = "traceparent";

/// All that a message published again carries; see [`Headers::to_publish_again`](super::Headers::to_publish_again).
pub(super) const KEPT: &[&str] = &[
    ATTEMPT,
    RUN,
    DELIVERIES,
    WORKER,
    STARTED_AT,
    FINISHED_AT,
    EXPIRES_AT,
    NOT_BEFORE,
    REASON,
    ERROR,
    TRACEPARENT,
];

/// The longest text in a header of ours, in bytes. All together stay far below what a frame takes.
pub(super) const LONGEST: usize = 2000;

/// How long the work took, in milliseconds, by its own clock.
pub fn milliseconds(headers: &super::Headers) -> Option<u64> {
    let time = |name| time(headers, name);
    let took = time(FINISHED_AT)?.duration_since(time(STARTED_AT)?).ok()?;
    u64::try_from(took.as_millis()).ok()
}

/// The moment that a header tells, if it is there and is one.
pub fn time(headers: &super::Headers, name: &str) -> Option<std::time::SystemTime> {
    headers.text(name)?.parse::<super::Timestamp>().ok().map(Into::into)
}

/// A moment as it stands in headers: RFC 3339 UTC with milliseconds.
pub fn moment(at: std::time::SystemTime) -> String {
    super::Timestamp::from(at).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::contract::Headers;

    #[test]
    fn the_time_of_the_work_is_the_difference() {
        let began = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let mut headers = Headers::default();
        headers.set(STARTED_AT, moment(began));
        assert_eq!(milliseconds(&headers), None);
        headers.set(FINISHED_AT, moment(began + Duration::from_millis(1502)));
        assert_eq!(milliseconds(&headers), Some(1502));
        assert_eq!(headers.text(STARTED_AT), Some("2023-11-14T22:13:20.123Z"));
    }
}
