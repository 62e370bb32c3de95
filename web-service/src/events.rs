//! Events and control messages of other programs, best effort; who waits for what, who works on what.

pub mod jobs;
pub mod listener;
pub mod notifier;
pub mod obsolete_work;
pub mod retry_recorder;
pub mod waiters;
