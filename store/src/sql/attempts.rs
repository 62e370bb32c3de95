//! The SQL of attempts that both backends share.

/// The columns of an attempt.
macro_rules! attempt_columns {
    () => {
        "request_id, run, attempt, part, delivery, worker, began_at, ended_at, code, message, next_at"
    };
}

/// The attempt with which a request has failed, out of its row.
macro_rules! last_failure {
    ($rows:literal) => {
        concat!(
            "SELECT id, run, attempts, 1, deliveries, worker, started_at, \
             COALESCE(finished_at, settled_at), error_code, \
             substr(COALESCE(error_message, ''), 1, 2000), NULL FROM ",
            $rows,
            " WHERE status = 2 AND error_code IS NOT NULL"
        )
    };
}

pub(crate) use {attempt_columns, last_failure};

/// The attempts at a request that failed, the latest first.
pub(crate) const ATTEMPTS: &str = concat!(
    "SELECT ",
    attempt_columns!(),
    " FROM attempts WHERE request_id = $1 ORDER BY run DESC, attempt DESC, part DESC LIMIT $2"
);
