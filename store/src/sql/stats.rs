//! The SQL of statistics that both backends share.

macro_rules! sums {
    () => {
        "CAST(sum(accepted) AS bigint), CAST(sum(completed) AS bigint), CAST(sum(failed) AS bigint), \
         CAST(sum(retried) AS bigint), CAST(sum(cancelled) AS bigint)"
    };
}

macro_rules! of_type {
    ($type:literal) => {
        concat!("(CAST(", $type, " AS text) IS NULL OR type = CAST(", $type, " AS text))")
    };
}

/// The counts of minutes, in parts of so many minutes, from this minute on.
pub(crate) const MINUTES: &str = concat!(
    "SELECT minute / $1, ",
    sums!(),
    " FROM minutes WHERE minute >= $2 AND ",
    of_type!("$3"),
    " GROUP BY minute / $1"
);
/// The counts of hours, from this hour on.
pub(crate) const HOURS: &str = concat!(
    "SELECT hour, ",
    sums!(),
    " FROM hours WHERE hour >= $1 AND ",
    of_type!("$2"),
    " GROUP BY hour"
);
/// How many requests there are of each type, or of this one.
pub(crate) const TALLIES: &str = concat!(
    "SELECT type, CAST(sum(queued) AS bigint), CAST(sum(completed) AS bigint), \
     CAST(sum(failed) AS bigint), CAST(sum(cancelled) AS bigint) FROM tallies WHERE ",
    of_type!("$1"),
    " GROUP BY type"
);
pub(crate) const DELETE_HOURS: &str = "DELETE FROM hours WHERE hour < $1";
