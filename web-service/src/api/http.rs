//! HTTP: what handlers share for reading requests and building responses.

pub(super) mod accepted;
pub(super) mod access;
pub(crate) mod body;
pub(crate) mod body_memory;
pub(crate) mod calls_in_flight;
pub(crate) mod etag;
pub(super) mod idempotency_key;
pub(super) mod json_body;
pub(crate) mod page;
pub(super) mod prefer;
pub(crate) mod problem;
pub(crate) mod problem_type;
pub(crate) mod request_id;
pub(crate) mod resource;
pub(super) mod responses;
pub(super) mod trace;
