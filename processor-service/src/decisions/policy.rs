//! The limits that decisions go by: attempts, deliveries, retry delays, result size.

use pipeline::topology::RetryDelays;

/// The limits that decisions go by.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// How many attempts a run has (`MAX_ATTEMPTS`).
    pub(crate) max_attempts: i64,
    /// How many deliveries an attempt has (`MAX_DELIVERIES`).
    pub(crate) max_deliveries: i64,
    /// The delays between attempts (`RETRY_DELAYS`).
    pub(crate) retry_delays: RetryDelays,
    /// The longest result, in bytes (`RESULT_LIMIT`).
    pub(crate) result_limit: usize,
}
