//! Events and control messages, best effort: who waits for which request, who works on which.

mod clock_skew;
pub(crate) mod early_retries;
mod finished_events;
pub mod jobs;
pub mod listener;
mod lossy_queue;
pub mod notifier;
pub mod obsolete_work;
pub mod retry_recorder;
pub mod waiters;
pub(crate) mod worker_watch;
