//! The outcome of a batch: whether the store has taken it.

/// The outcome of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchOutcome {
    /// The store has taken what was meant for it.
    Stored,
    /// Nothing was meant for the store.
    NothingToStore,
    /// The store is away, and what was meant for it went back to the queue.
    StoreAway,
}

impl BatchOutcome {
    /// The outcome of two parts of a batch together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::StoreAway, _) | (_, Self::StoreAway) => Self::StoreAway,
            (Self::Stored, _) | (_, Self::Stored) => Self::Stored,
            (Self::NothingToStore, Self::NothingToStore) => Self::NothingToStore,
        }
    }
}
