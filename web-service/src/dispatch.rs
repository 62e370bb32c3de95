//! Sends requests to the workers: publish, confirm, record.

pub mod accept;
pub mod accept_batch;
pub mod record_later;
pub mod replay;
