//! Error codes: why a request ended `failed`, in `error.code` and in the header `slowlane-reason`.
//!
//! A worker may use other codes; they are passed on unchanged.

/// The processor reported a permanent error.
pub const PERMANENT: &str = "permanent";
/// An attempt failed, and another one follows. It is never the code of a request that has ended.
pub const TRANSIENT: &str = "transient";
/// The work failed in each of its attempts, the last time with this message.
pub const ATTEMPTS_EXHAUSTED: &str = "attempts_exhausted";
/// The work took longer than `JOB_TIMEOUT`, in the last attempt too.
pub const TIMEOUT: &str = "timeout";
/// The workers of the message die or hang.
pub const POISON: &str = "poison";
/// The request was cancelled.
pub const CANCELLED: &str = "cancelled";
/// The message is not a request.
pub const MALFORMED: &str = "malformed";
/// The result is larger than `RESULT_LIMIT`.
pub const RESULT_TOO_LARGE: &str = "result_too_large";
/// The broker dead-lettered the message after too many deliveries.
pub const DELIVERY_LIMIT: &str = "delivery_limit";
/// No worker took the message in time.
pub const EXPIRED: &str = "expired";

/// All of these.
pub const ALL: &[&str] = &[
    PERMANENT,
    TRANSIENT,
    ATTEMPTS_EXHAUSTED,
    TIMEOUT,
    POISON,
    CANCELLED,
    MALFORMED,
    RESULT_TOO_LARGE,
    DELIVERY_LIMIT,
    EXPIRED,
];

/// Whether an error with this code only says that the message was given up. No worker has said that the work failed:
/// one may live and succeed, and then its result counts.
pub fn is_given_up(code: &str) -> bool {
    [POISON, DELIVERY_LIMIT, EXPIRED].contains(&code)
}
