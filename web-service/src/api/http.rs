//! What handlers share of HTTP: problems, bodies, headers.

pub mod body;
pub mod idempotency_key;
pub mod prefer;
pub mod problem;
