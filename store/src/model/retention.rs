//! Retention: what to delete because its time is over, and how much was deleted.

use std::time::Duration;

use pipeline::contract::Timestamp;

/// What to delete. Times are by [`Store::clock`](crate::Store::clock).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// Delete requests that ended before, and messages that were parked before.
    pub ended_before: Timestamp,
    /// Delete tombstones of requests that expired before, unless an idempotency key stands for them.
    pub tombstones_before: Timestamp,
    /// How many rows of each kind at most: a small number, so that other writes don't wait long.
    pub limit: u32,
    /// How long they may be deleted in SQLite, where all other writes wait meanwhile: to delete a row, all pages of its
    /// payloads are read. At least one is deleted.
    pub max_time: Duration,
}

/// How many rows were deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cleared {
    /// Requests, each of which left a tombstone.
    pub requests: u64,
    /// Parked messages.
    pub parked: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Idempotency keys that were deleted, or kept because their request is.
    pub claims: u64,
    /// Failed requests of an earlier release that were not deleted, but put into their error groups.
    pub grouped: u64,
    /// Whether some were left because the time was over, or since those that were deleted are large.
    pub is_cut_short: bool,
}

impl Cleared {
    /// Whether there may be more to delete: some kind has reached the limit, or it was cut short.
    pub fn has_reached(&self, limit: u32) -> bool {
        let numbers = [self.requests, self.parked, self.tombstones, self.claims, self.grouped];
        self.is_cut_short || numbers.contains(&u64::from(limit))
    }
}
