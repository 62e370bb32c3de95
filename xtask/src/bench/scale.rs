//! How much is measured: enough for precise figures, or just enough to see that everything works.

use std::time::Duration;

/// The size of all measurements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) quick: bool,
    /// How often everything is measured.
    pub(super) rounds: u32,
    /// How long a load runs before it is measured.
    pub(super) warm_up: Duration,
    /// How long a load is measured after the warm-up.
    pub(super) duration: Duration,
    /// How long requests are sent at even distances.
    pub(super) open_loop: Duration,
    /// How many results wait in the queue.
    pub(super) results: usize,
    /// How many requests wait in the largest backlog.
    pub(super) backlog: usize,
    /// How many jobs wait for one worker; more wait for several.
    pub(super) jobs: usize,
    /// How many requests one client sends, one after the other.
    pub(super) sequential_requests: usize,
    /// How many requests an almost empty store holds, and a full one.
    pub(super) stored_requests: [usize; 2],
    /// How many clients wait for results at once.
    pub(super) waiting_clients: usize,
}

impl Scale {
    pub(super) fn new(quick: bool, rounds: Option<u32>) -> Self {
        let mut scale = if quick { Self::quick() } else { Self::full() };
        scale.rounds = rounds.unwrap_or(scale.rounds);
        scale
    }

    /// How many jobs wait for so many workers with this prefetch.
    pub(super) fn jobs(self, workers: usize, prefetch: u16) -> usize {
        let times = if workers == 1 { 1 } else { 4 };
        self.jobs * times * if prefetch == 1 { 1 } else { 2 }
    }

    fn full() -> Self {
        Self {
            quick: false,
            rounds: 5,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(4),
            open_loop: Duration::from_secs(10),
            results: 50_000,
            backlog: 1_000_000,
            jobs: 4000,
            sequential_requests: 2000,
            stored_requests: [1000, 1_000_000],
            waiting_clients: 1000,
        }
    }

    fn quick() -> Self {
        Self {
            quick: true,
            rounds: 1,
            warm_up: Duration::from_millis(300),
            duration: Duration::from_secs(1),
            open_loop: Duration::from_secs(2),
            results: 10_000,
            backlog: 20_000,
            jobs: 1000,
            sequential_requests: 300,
            stored_requests: [1000, 20_000],
            waiting_clients: 200,
        }
    }
}
