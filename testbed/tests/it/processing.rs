//! Requests on their way: work, retries, results, events, an orderly stop.

mod command_pool;
mod commands;
mod draining;
mod duplicate_results;
mod events;
mod flow;
mod foreign_workers;
mod host_faults;
mod http;
mod kinds;
mod logs;
mod many_retries;
mod no_worker;
mod own_settings;
mod own_worker;
mod prefetch;
mod progress;
mod retry_now;
mod retrying;
mod stopping;
mod types;
