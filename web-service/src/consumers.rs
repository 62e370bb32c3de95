//! Consumers of what comes back from the broker: results and dead letters, stored in batches.

mod batch;
pub mod batch_consumer;
pub mod batch_outcome;
pub mod dead_letters;
mod from_message;
mod prefetch_mode;
mod result_log;
pub mod results;
