//! HTTP: what handlers share for reading requests and building responses.

pub(super) mod accepted;
pub(super) mod access;
pub(super) mod body;
pub(crate) mod body_memory;
pub(crate) mod calls_in_flight;
pub(super) mod etag;
pub(super) mod idempotency_key;
pub(super) mod page;
pub(super) mod prefer;
pub(super) mod problem;
pub(super) mod problem_type;
pub(super) mod request_id;
pub(super) mod responses;
pub(super) mod trace;
