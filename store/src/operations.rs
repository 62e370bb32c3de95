//! What a `Store` can do, by subject.

mod attempts;
mod bulk_runs;
mod callbacks;
mod error_groups;
mod idempotency;
mod open_requests;
mod overview;
mod parked;
mod replay;
mod requests;
mod results;
mod retention;
mod retry_now;
mod stats;
