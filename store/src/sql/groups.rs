//! The SQL of error groups that both backends share.

/// Error groups with their counts.
macro_rules! groups {
    ($condition:literal) => {
        concat!(
            "SELECT id, code, pattern, example, example_id, first_at, seen, last_at, \
             (SELECT count(*) FROM (SELECT 1 FROM failures WHERE group_id = error_groups.id LIMIT 1001) \
             AS few) FROM error_groups JOIN (SELECT group_id AS seen_id, CAST(sum(count) AS bigint) \
             AS seen, max(last_at) AS last_at FROM group_counts GROUP BY group_id) AS counts \
             ON seen_id = id WHERE ",
            $condition
        )
    };
}

/// All of them, the one that was seen last first.
pub(crate) const GROUPS: &str = groups!("true ORDER BY last_at DESC, id LIMIT $1");
/// Those with requests that are failed now. `EXISTS` would let PostgreSQL read all failures.
pub(crate) const FAILED_GROUPS: &str = groups!(
    "(SELECT 1 FROM failures WHERE group_id = error_groups.id LIMIT 1) = 1 \
     ORDER BY last_at DESC, id LIMIT $1"
);
/// One.
pub(crate) const GROUP: &str = groups!("id = $1");
/// Those that nobody has seen lately and no request is failed in, without `NOT EXISTS` for the same reason.
pub(crate) const EXPIRED_GROUPS: &str = "SELECT id FROM error_groups JOIN group_counts ON group_id = id \
    WHERE (SELECT 1 FROM failures WHERE failures.group_id = error_groups.id LIMIT 1) IS NULL \
    GROUP BY id HAVING max(last_at) < $1 LIMIT $2";
