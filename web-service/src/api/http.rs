//! HTTP: what handlers share for reading requests and building responses.

pub mod accepted;
pub mod body;
pub mod etag;
pub mod idempotency_key;
pub mod page;
pub mod prefer;
pub mod problem;
pub mod problem_type;
pub mod request_id;
pub mod responses;
pub mod trace;
