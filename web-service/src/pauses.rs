//! Pauses that grow while something that seemed to be mended goes wrong again and again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The first pause.
pub(crate) const SHORTEST: Duration = Duration::from_millis(250);
/// The pause at last.
const LONGEST: Duration = Duration::from_secs(30);
/// What was well for so long was mended.
const STEADY: Duration = Duration::from_secs(10);

/// Each pause is twice as long as the one before, up to a bound.
#[derive(Debug)]
pub(crate) struct Pauses(ExponentialBackoff);

impl Default for Pauses {
    fn default() -> Self {
        let pauses = ExponentialBuilder::new().with_min_delay(SHORTEST).with_max_delay(LONGEST);
        Self(pauses.without_max_times().build())
    }
}

impl Pauses {
    /// The next pause.
    pub(crate) fn next(&mut self) -> Duration {
        self.0.next().unwrap_or(LONGEST)
    }

    /// The next pause, after it was well for a while; a short one if that was a long while.
    pub(crate) fn after(&mut self, well_for: Duration) -> Duration {
        if well_for >= STEADY {
            self.reset();
        }
        self.next()
    }

    /// Begins with short pauses again.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_never_end() {
        let mut pauses = Pauses::default();
        let seconds: Vec<f64> = (0..100).map(|_| pauses.next().as_secs_f64()).collect();
        assert_eq!(seconds[..8], [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]);
        assert!(seconds[8..].iter().all(|pause| *pause == 30.0));
        pauses.reset();
        assert_eq!(pauses.next(), SHORTEST);
    }

    #[test]
    fn what_was_well_for_long_is_tried_again_soon() {
        let mut pauses = Pauses::default();
        let (short, long) = (Duration::from_secs(9), Duration::from_secs(10));
        let after = [short, short, short, long, short].map(|well_for| pauses.after(well_for));
        assert_eq!(after.map(|pause| pause.as_millis()), [250, 500, 1000, 250, 500]);
    }
}
