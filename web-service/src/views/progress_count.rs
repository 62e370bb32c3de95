//! What a worker's progress was counted from, as JSON.

use pipeline::contract::ProgressCount;
use serde::Serialize;
use utoipa::ToSchema;

/// So many of so many.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = ProgressCount)]
pub(crate) struct CountView {
    /// How many are done.
    pub(crate) done: u64,
    /// How many there are.
    #[schema(minimum = 1)]
    pub(crate) total: u64,
}

impl From<ProgressCount> for CountView {
    fn from(ProgressCount { done, total }: ProgressCount) -> Self {
        Self { done, total }
    }
}
