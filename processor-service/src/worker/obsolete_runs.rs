//! Obsolete runs: up to which run nobody need work on a request any more, as web services have told this process. Runs
//! only rise, so this never becomes wrong.

use std::collections::{HashMap, VecDeque};

use pipeline::contract::RequestId;
use uuid::Uuid;

/// How many requests are remembered; then the oldest are forgotten. A web service tells of them again when their work has
/// begun.
const MAX_REMEMBERED: usize = 10_000;

/// The latest obsolete run of each request. Only ids that are UUIDs are remembered: web services tell of no others.
#[derive(Debug, Default)]
pub(super) struct ObsoleteRuns {
    latest: HashMap<Uuid, i64>,
    /// The requests in the order in which they were first told of.
    order: VecDeque<Uuid>,
}

impl ObsoleteRuns {
    /// Notes that this run of a request is obsolete, and all before it.
    pub(super) fn note(&mut self, id: &RequestId, run: i64) {
        let Some(id) = id.uuid() else { return };
        if let Some(known) = self.latest.get_mut(&id) {
            *known = run.max(*known);
            return;
        }
        if self.order.len() >= MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.latest.remove(&oldest);
        }
        self.latest.insert(id, run);
        self.order.push_back(id);
    }

    /// Whether nobody need work on this run of a request.
    pub(super) fn contain(&self, id: &RequestId, run: i64) -> bool {
        let latest = id.uuid().and_then(|id| self.latest.get(&id));
        latest.is_some_and(|latest| run <= *latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_and_those_before_it_are_obsolete() {
        let mut runs = ObsoleteRuns::default();
        let id = RequestId::from(Uuid::now_v7());
        assert!(!runs.contain(&id, 0));
        runs.note(&id, 2);
        runs.note(&id, 1);
        assert_eq!([0, 2, 3].map(|run| runs.contain(&id, run)), [true, true, false]);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut runs = ObsoleteRuns::default();
        let ids: Vec<RequestId> =
            (0..=MAX_REMEMBERED as u128).map(|n| Uuid::from_u128(n).into()).collect();
        ids.iter().for_each(|id| runs.note(id, 0));
        assert!(!runs.contain(&ids[0], 0) && runs.contain(&ids[1], 0));
        assert_eq!((runs.latest.len(), runs.order.len()), (MAX_REMEMBERED, MAX_REMEMBERED));
    }
}
