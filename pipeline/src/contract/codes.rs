//! Error codes: why a request ended `failed`, as it stands in `error.code` and in `slowlane-reason`.
//!
//! A worker may use codes of its own; they pass through unchanged.

/// The work itself said that trying again is of no use.
pub const PERMANENT: &str = "permanent";
/// The work failed in each of its attempts, the last time with this message.
pub const ATTEMPTS_EXHAUSTED: &str = "attempts_exhausted";
/// The work took longer than `JOB_TIMEOUT`, in the last attempt too.
pub const TIMEOUT: &str = "timeout";
/// Whoever works on the message dies or hangs.
pub const POISON: &str = "poison";
/// Its owner wanted it no more.
pub const CANCELLED: &str = "cancelled";
/// The message is not a request.
pub const MALFORMED: &str = "malformed";
/// The result is larger than `RESULT_LIMIT`.
pub const RESULT_TOO_LARGE: &str = "result_too_large";
/// The broker gave the message up after delivering it too often.
pub const DELIVERY_LIMIT: &str = "delivery_limit";
/// Nobody took the message in time.
pub const EXPIRED: &str = "expired";
