//! Counts that end at a limit, so that they cost little however many rows there are.

/// A count goes no further.
pub const MAX_COUNT: u32 = 1000;

/// How many requests there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The number, [`MAX_COUNT`] at most.
    pub value: u32,
    /// Whether there may be more.
    pub is_capped: bool,
}

impl Count {
    /// The count by the rows that were found, one more than [`MAX_COUNT`] at most, and whether there was more to look at.
    pub(crate) fn of(rows: u32, has_more: bool) -> Self {
        Self { value: rows.min(MAX_COUNT), is_capped: rows > MAX_COUNT || has_more }
    }
}
