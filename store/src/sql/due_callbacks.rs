//! The SQL of looks for due callbacks that both backends share. Many callbacks may wait for a host without capacity: a look goes
//! through the callbacks that are due first, and on from host to host only if all those wait for such hosts.

/// The pending callbacks that are due first, of those that meet a condition.
macro_rules! early {
    ($columns:literal, $condition:literal) => {
        concat!(
            "(SELECT ",
            $columns,
            " FROM callbacks WHERE state = 0",
            $condition,
            " ORDER BY due_at LIMIT 1024)"
        )
    };
}

/// The hosts to which callbacks are pending, each found from the one before it; an empty text, which is no host, before them,
/// and NULL at the end.
macro_rules! hosts {
    ($none:literal) => {
        concat!(
            "RECURSIVE hosts (host) AS (SELECT ",
            $none,
            " UNION ALL SELECT (SELECT min(host) FROM callbacks WHERE state = 0 AND host > hosts.host) \
             FROM hosts WHERE host IS NOT NULL)"
        )
    };
}

/// When the next callback to a host is due.
macro_rules! next_of_host {
    () => {
        "(SELECT min(due_at) FROM callbacks WHERE state = 0 AND host = hosts.host)"
    };
}

/// Up to $3 hosts to which callbacks are due at $1, those that were due first. SQLite numbers parameters as they appear.
macro_rules! due_hosts {
    ($none:literal, $is_free:expr) => {
        concat!(
            $crate::sql::due_callbacks::hosts!($none),
            ", due_hosts (host) AS (SELECT host FROM (SELECT host, (SELECT min(due_at) FROM callbacks \
             WHERE state = 0 AND host = hosts.host AND due_at <= $1) AS first_at FROM hosts WHERE ",
            $is_free,
            ") AS free WHERE first_at IS NOT NULL ORDER BY first_at LIMIT $3)"
        )
    };
}

/// The callbacks of such a host that are due first: more than $3 are never looked at.
macro_rules! due_to_host {
    () => {
        "SELECT request_id, due_at FROM callbacks WHERE state = 0 AND host = due_hosts.host \
         AND due_at <= $1 ORDER BY due_at LIMIT $3"
    };
}

pub(crate) use {due_hosts, due_to_host, early, hosts, next_of_host};
