//! What callers of the HTTP API see.

mod arbitrary_input;
mod batches;
mod browsers;
mod bulk_runs;
mod callbacks;
mod cancelling;
mod data;
mod error_groups;
mod idempotency;
mod many_waiters;
mod openapi;
mod progress;
mod replaying;
mod request_lifecycle;
mod stats;
mod status;
