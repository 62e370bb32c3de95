//! What every measurement needs: the system, how much to measure, and the load by other programs.

use super::{other_load::OtherLoad, scale::Scale, system::System};
use crate::console;

/// The context of all measurements of a run.
pub(super) struct Bench {
    pub(super) system: System,
    pub(super) scale: Scale,
    pub(super) other_load: OtherLoad,
}

impl Bench {
    /// The rounds of a measurement; the beginning of each is printed.
    pub(super) fn rounds(&self, what: &str) -> impl Iterator<Item = u32> {
        let count = self.scale.rounds;
        (1..=count).inspect(move |round| {
            console::step("bench", format!("{what}, round {round} of {count}"));
        })
    }
}
