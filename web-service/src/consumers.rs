//! What comes back from the broker: results and dead letters, stored in batches.

pub mod batch_consumer;
pub mod dead_letters;
pub mod from_message;
pub mod results;
