//! The calls for requests: submit, get, its data, why, follow, list, cancel, retry now, publish again, replay, discard.

pub(crate) mod accepted_request;
pub(crate) mod attempts;
pub(crate) mod cancel;
pub(crate) mod data;
pub(crate) mod discard;
pub(crate) mod event_stream;
pub(super) mod follow;
pub(super) mod get;
pub(crate) mod list;
pub(crate) mod load;
pub(super) mod long_poll;
pub(crate) mod rejected;
pub(crate) mod replay;
pub(super) mod republish;
pub(crate) mod retry_callback;
pub(crate) mod retry_now;
pub(crate) mod submission;
pub(crate) mod submission_rules;
pub(super) mod submit;
pub(super) mod submit_batch;
pub(crate) mod why;
