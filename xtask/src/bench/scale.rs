//! How much is measured: enough to trust the figures, or just enough to see that everything works.

use std::time::Duration;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) quick: bool,
    /// How often everything is measured, in turns.
    pub(super) rounds: u32,
    /// How long a load runs before it is measured.
    pub(super) warm_up: Duration,
    /// How long a load is measured.
    pub(super) time: Duration,
    /// How many results wait.
    pub(super) results: usize,
    /// How many requests one client sends for a figure.
    pub(super) one_by_one: usize,
    /// How many requests an almost empty store has, and a full one.
    pub(super) stored: [usize; 2],
    /// How many clients wait at once.
    pub(super) waiting: usize,
}

impl Scale {
    pub(super) fn new(quick: bool, rounds: Option<u32>) -> Self {
        let mut scale = if quick { Self::quick() } else { Self::full() };
        scale.rounds = rounds.unwrap_or(scale.rounds);
        scale
    }

    fn full() -> Self {
        Self {
            quick: false,
            rounds: 5,
            warm_up: Duration::from_secs(1),
            time: Duration::from_secs(4),
            results: 50_000,
            one_by_one: 2000,
            stored: [1000, 1_000_000],
            waiting: 1000,
        }
    }

    fn quick() -> Self {
        Self {
            quick: true,
            rounds: 1,
            warm_up: Duration::from_millis(300),
            time: Duration::from_secs(1),
            results: 10_000,
            one_by_one: 300,
            stored: [1000, 20_000],
            waiting: 200,
        }
    }
}
