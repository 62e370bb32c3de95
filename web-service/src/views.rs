//! A request as JSON: the same for API clients and for webhook receivers.

pub(crate) mod attempt;
pub(crate) mod callback;
pub(crate) mod error_group;
pub(crate) mod failure;
pub(crate) mod progress_count;
pub(crate) mod request;
