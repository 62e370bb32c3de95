//! Seeded random numbers: the same seed gives the same run on every machine.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use uuid::Uuid;

/// The stream that disturbances are drawn from. Calls have the streams from 0 on.
pub(super) const SCHEDULE_STREAM: u64 = u64::MAX;

/// The generator of one stream. A seed has 2^64 streams, and what is drawn from one changes nothing in another.
pub(super) fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(number);
    random
}

/// A duration of whole milliseconds, from the first up to the second.
pub(super) fn between(random: &mut ChaCha8Rng, least: Duration, most: Duration) -> Duration {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random.random_range(millis(least)..=millis(most)))
}

/// A seed that was probably never used before, short enough to be typed again.
pub(super) fn new_seed() -> u64 {
    Uuid::now_v7().as_u64_pair().1 % 1_000_000
}
