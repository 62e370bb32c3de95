//! Plain data and pure decisions: no I/O, no clock, no SQL.

pub(crate) mod attempt;
pub(crate) mod bulk_run;
pub(crate) mod callback;
pub(crate) mod count;
pub(crate) mod error_group;
pub(crate) mod error_pattern;
pub(crate) mod filter;
pub(crate) mod id_time;
pub(crate) mod idempotency;
pub(crate) mod inspection;
pub(crate) mod open_request;
pub(crate) mod overview;
pub(crate) mod page;
pub(crate) mod parked;
pub(crate) mod replay;
pub(crate) mod request;
pub(crate) mod retention;
pub(crate) mod retry_now;
pub(crate) mod sanitize;
pub(crate) mod send_capacity;
pub(crate) mod stats;
pub(crate) mod worker_result;
