//! Backoff: pauses that grow with each failure in a row.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// After something worked for this long, the pauses begin with the first one again.
const STEADY_AFTER: Duration = Duration::from_secs(10);

/// Pauses that double from a first one up to a maximum, without end.
#[derive(Debug)]
pub struct Backoff {
    max: Duration,
    shape: ExponentialBuilder,
    pauses: ExponentialBackoff,
}

impl Backoff {
    /// Pauses from `first` to `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        let shape = ExponentialBuilder::new().with_min_delay(first).with_max_delay(max);
        Self::of(shape.without_max_times(), max)
    }

    /// Adds a random time to each pause, at most its own length, so that programs that failed together
    /// don't retry together.
    #[must_use]
    pub fn with_jitter(self) -> Self {
        Self::of(self.shape.with_jitter(), self.max)
    }

    /// For connections to a broker: from 50 ms to 5 s, with jitter.
    pub fn connecting() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(5)).with_jitter()
    }

    /// For a store that fails again and again: from 250 ms to 30 s.
    pub fn storing() -> Self {
        Self::new(Duration::from_millis(250), Duration::from_secs(30))
    }

    fn of(shape: ExponentialBuilder, max: Duration) -> Self {
        Self { max, shape, pauses: shape.build() }
    }

    /// The next pause.
    pub fn next_pause(&mut self) -> Duration {
        self.pauses.next().unwrap_or(self.max)
    }

    /// The next pause after something worked for this long; the first one, if that was
    /// 10 s or longer.
    pub fn next_pause_after(&mut self, worked_for: Duration) -> Duration {
        self.reset_after(worked_for);
        self.next_pause()
    }

    /// Begins with the first pause again, if something worked for 10 s or longer.
    pub fn reset_after(&mut self, worked_for: Duration) {
        if worked_for >= STEADY_AFTER {
            self.reset();
        }
    }

    /// Begins with the first pause again.
    pub fn reset(&mut self) {
        self.pauses = self.shape.build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_never_end() {
        let mut backoff = Backoff::storing();
        let seconds: Vec<f64> = (0..100).map(|_| backoff.next_pause().as_secs_f64()).collect();
        assert_eq!(seconds[..8], [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]);
        assert!(seconds[8..].iter().all(|pause| *pause == 30.0));
        backoff.reset();
        assert_eq!(backoff.next_pause(), Duration::from_millis(250));
    }

    #[test]
    fn what_worked_for_long_is_tried_again_soon() {
        let mut backoff = Backoff::storing();
        let (short, long) = (Duration::from_secs(9), Duration::from_secs(10));
        let after = [short, short, short, long, short].map(|time| backoff.next_pause_after(time));
        assert_eq!(after.map(|pause| pause.as_millis()), [250, 500, 1000, 250, 500]);
    }

    #[test]
    fn jitter_makes_a_pause_at_most_twice_as_long() {
        let mut backoff = Backoff::connecting();
        let pauses: Vec<_> = (0..100).map(|_| backoff.next_pause()).collect();
        assert!(pauses[0] >= Duration::from_millis(50) && pauses[0] <= Duration::from_millis(100));
        assert!(pauses[50..].iter().all(|pause| (5..=10).contains(&pause.as_secs())));
    }
}
