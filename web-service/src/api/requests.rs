//! The calls about requests: submit, get, wait, follow, list, cancel, replay.

pub mod cancel;
pub mod event_stream;
pub mod follow;
pub mod get;
pub mod list;
pub mod long_poll;
pub mod replay;
pub mod retry_callback;
pub mod submission;
pub mod submit;
pub mod submit_batch;
