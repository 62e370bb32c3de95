//! Prefetch mode: how many messages a batch consumer lets the broker send ahead, and stores at once. Pure decisions.

use crate::consumers::batch_outcome::BatchOutcome;

/// A batch ends with the message that makes it this long: it is one transaction.
pub(crate) const MAX_BATCH_BYTES: usize = 16 << 20;
/// Messages that are longer than this on average are long.
const LONG_MESSAGE_BYTES: usize = 128 << 10;
/// Long messages reduce a full prefetch only when they come in batches of this length: all that were sent ahead are in
/// memory. A reduced one stays as it is also while they come in short batches: more of them may wait.
const LONG_BATCH_BYTES: usize = MAX_BATCH_BYTES / 2;
/// The prefetch while messages are long.
const REDUCED_PREFETCH: u16 = 16;
/// After this many messages that were not long, the prefetch is full again.
const SHORT_MESSAGES_TO_RECOVER: usize = 300;

/// How many messages the broker may send ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PrefetchMode {
    /// As many as the consumer may have.
    Full,
    /// A few, since messages are long, or may be. Counts the messages since then that were not long.
    Reduced(usize),
    /// One, until one is stored: a store that was away may open and still take no writes, as with a full
    /// disk. Brokers up to 4.2 count each requeue as a delivery, and give a message up after 20.
    Single,
}

impl PrefetchMode {
    /// The mode at the beginning, when it is not known how long the messages are that wait.
    pub(crate) const FIRST: Self = Self::Reduced(0);

    /// The prefetch of a consumer that may have this many messages.
    pub(crate) fn prefetch(self, full: u16) -> u16 {
        match self {
            Self::Full => full,
            Self::Reduced(_) => full.min(REDUCED_PREFETCH),
            Self::Single => 1,
        }
    }

    /// How many messages a batch has at most: while it is stored, the broker sends others. Those that replace a batch of
    /// short messages take longer on their way than one is stored, so several batches are ahead.
    pub(crate) fn max_batch(self, full: u16) -> usize {
        let parts = match self {
            Self::Full => 4,
            Self::Reduced(_) | Self::Single => 2,
        };
        usize::from(self.prefetch(full).div_ceil(parts))
    }

    /// The mode after a batch of `count` messages with `bytes` bytes.
    pub(crate) fn after(self, outcome: BatchOutcome, count: usize, bytes: usize) -> Self {
        let are_long = bytes > count.saturating_mul(LONG_MESSAGE_BYTES);
        match self {
            Self::Single if outcome != BatchOutcome::Stored => Self::Single,
            Self::Single => Self::FIRST,
            Self::Full if are_long && bytes >= LONG_BATCH_BYTES => Self::Reduced(0),
            Self::Reduced(_) if are_long => Self::Reduced(0),
            Self::Reduced(before) if before + count < SHORT_MESSAGES_TO_RECOVER => {
                Self::Reduced(before + count)
            }
            Self::Full | Self::Reduced(_) => Self::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: BatchOutcome = BatchOutcome::Stored;

    #[test]
    fn long_messages_reduce_the_prefetch_for_a_while() {
        let reduced = PrefetchMode::Full.after(STORED, 20, LONG_BATCH_BYTES);
        assert_eq!((reduced, reduced.prefetch(250)), (PrefetchMode::Reduced(0), 16));
        assert_eq!(reduced.prefetch(5), 5);
        assert_eq!((PrefetchMode::Full.max_batch(250), reduced.max_batch(250)), (63, 8));
        let short = reduced.after(STORED, SHORT_MESSAGES_TO_RECOVER - 1, 1000);
        assert_eq!(short.prefetch(250), 16);
        assert_eq!(short.after(STORED, 1, LONG_BATCH_BYTES), PrefetchMode::Reduced(0));
        assert_eq!(short.after(STORED, 1, 1000), PrefetchMode::Full);
        for (count, bytes) in [(1, LONG_BATCH_BYTES - 1), (250, LONG_BATCH_BYTES)] {
            assert_eq!(PrefetchMode::Full.after(STORED, count, bytes), PrefetchMode::Full);
        }
        let few = 8 * (LONG_MESSAGE_BYTES + 1);
        assert_eq!(short.after(STORED, 8, few), PrefetchMode::Reduced(0), "more may wait");
        assert_eq!(short.after(STORED, 8, few - 8), PrefetchMode::Full);
    }

    #[test]
    fn the_prefetch_is_small_until_messages_are_known_to_be_short() {
        let first = PrefetchMode::FIRST;
        assert_eq!(first.prefetch(250), 16);
        assert_eq!(first.after(STORED, 16, 64 << 20), first);
        let short = first.after(STORED, 16, 16_000);
        assert_eq!(short.prefetch(250), 16);
        assert_eq!(short.after(STORED, SHORT_MESSAGES_TO_RECOVER, 1000), PrefetchMode::Full);
    }

    #[test]
    fn the_prefetch_is_one_until_a_message_is_stored() {
        let single = PrefetchMode::Single;
        assert_eq!((single.prefetch(250), single.max_batch(250)), (1, 1));
        assert_eq!(single.after(BatchOutcome::NothingToStore, 1, 1), single);
        assert_eq!(single.after(STORED, 1, 1), PrefetchMode::FIRST);
        assert_eq!(single.after(STORED, 1, LONG_BATCH_BYTES), PrefetchMode::Reduced(0));
    }
}
