//! The calls for requests: submit, get, its data, follow, list, cancel, retry now, replay, discard.

pub(super) mod cancel;
pub(super) mod data;
pub(super) mod discard;
pub(super) mod event_stream;
pub(super) mod follow;
pub(super) mod get;
pub(super) mod list;
pub(super) mod load;
pub(super) mod long_poll;
pub(super) mod rejected;
pub(super) mod replay;
pub(super) mod retry_callback;
pub(super) mod retry_now;
pub(super) mod submission;
pub(super) mod submit;
pub(super) mod submit_batch;
