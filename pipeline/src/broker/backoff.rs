//! How long to wait before the next attempt to connect.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Pauses that grow from 50 ms to some seconds, with jitter, for ever.
///
/// The jitter keeps a fleet from coming back in step after the broker was away.
pub(super) struct Backoff {
    most: Duration,
    pauses: ExponentialBackoff,
}

impl Backoff {
    /// Pauses of 5 s at last.
    pub(super) fn new() -> Self {
        Self::up_to(Duration::from_secs(5))
    }

    /// Pauses of a minute at last.
    pub(super) fn slow() -> Self {
        Self::up_to(Duration::from_secs(60))
    }

    fn up_to(most: Duration) -> Self {
        Self { most, pauses: Self::pauses(most).build() }
    }

    fn pauses(most: Duration) -> ExponentialBuilder {
        ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(most)
            .with_jitter()
            .without_max_times()
    }

    /// The next pause.
    pub(super) fn next(&mut self) -> Duration {
        self.pauses.next().unwrap_or(self.most)
    }

    /// Begins with short pauses again.
    pub(super) fn reset(&mut self) {
        *self = Self::up_to(self.most);
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
