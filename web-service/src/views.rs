//! A request as JSON: the same for API clients and for webhook receivers.

pub mod callback;
pub mod request;
