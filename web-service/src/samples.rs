//! Requests for tests.

use store::{Status, Summary};
use uuid::Uuid;

/// A request of which only the status is known.
pub(crate) fn summary(status: Status) -> Summary {
    Summary {
        id: Uuid::nil(),
        status,
        kind: "default".into(),
        owner: None,
        run: 0,
        attempts: 0,
        deliveries: 0,
        accepted_at: None,
        started_at: None,
        finished_at: None,
        settled_at: None,
        worker: None,
        error: None,
        last_error: None,
        next_attempt_at: None,
        callback: None,
    }
}
