use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Pauses that grow from 50 ms to 5 s, with jitter, for ever.
///
/// The jitter keeps a fleet from coming back in step after the broker was away.
pub(super) struct Backoff(ExponentialBackoff);

impl Backoff {
    pub(super) fn new() -> Self {
        Self(Self::pauses().build())
    }

    fn pauses() -> ExponentialBuilder {
        ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(5))
            .with_jitter()
            .without_max_times()
    }

    /// The next pause.
    pub(super) fn next(&mut self) -> Duration {
        self.0.next().unwrap_or(Duration::from_secs(5))
    }

    /// Begins with short pauses again.
    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_never_end() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..100).map(|_| backoff.next()).collect();
        assert!(pauses[0] < Duration::from_millis(150), "{:?}", pauses[0]);
        assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(10)));
        assert!(pauses[50] >= Duration::from_secs(5));
        backoff.reset();
        assert!(backoff.next() < Duration::from_millis(150));
    }
}
