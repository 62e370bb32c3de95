//! What is known of requests in tests.

use pipeline::{contract::Timestamp, health::QueueCounts};
use store::{Status, Summary};

use crate::{
    samples,
    why::facts::{Facts, WorkInHand},
};

/// So many seconds after the present time.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
}

/// A request that was accepted a minute ago.
pub(super) fn request(status: Status) -> Summary {
    Summary { accepted_at: Some(at(-60)), ..samples::summary(status) }
}

/// This request beside 39 others, with four workers that are busy.
pub(super) fn facts(request: Summary) -> Facts {
    Facts {
        now: at(0),
        request,
        job: None,
        broker_away: None,
        is_known_type: true,
        queue: Some(QueueCounts { waiting: 40, consumers: 4 }),
        before: Some(9),
        ended_per_second: Some(2.0),
        suspects: 0,
        work: WorkInHand { busy: 4, longest_since: Some(at(-30)) },
    }
}

/// A request that waits for a worker.
pub(super) fn waits() -> Facts {
    facts(request(Status::Queued))
}
