//! Statistics.

use crate::{
    Store,
    command::Read,
    error::StoreError,
    model::stats::{Stats, StatsQuery, StatsRange},
};

impl Store {
    /// How many requests were accepted and have ended in each part of a range, and how many there are now; only those of a
    /// type, or all.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn stats(
        &self,
        range: StatsRange,
        kind: Option<String>,
    ) -> Result<Stats, StoreError> {
        // PostgreSQL takes no NUL in a text, and no type has one.
        let kind = kind.map(|kind| kind.replace('\0', "\u{fffd}"));
        self.read(|reply| Read::Stats(StatsQuery { range, kind }, reply)).await
    }
}
