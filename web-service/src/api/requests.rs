//! The calls for requests: submit, get, follow, list, cancel, replay, discard.

pub mod cancel;
pub mod discard;
pub mod event_stream;
pub mod follow;
pub mod get;
pub mod list;
pub mod load;
pub mod long_poll;
pub mod rejected;
pub mod replay;
pub mod retry_callback;
pub mod submission;
pub mod submit;
pub mod submit_batch;
