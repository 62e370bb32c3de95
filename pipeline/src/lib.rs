//! What all programs of Slowlane share: the messages, the topology, the configuration, and the
//! connections to the broker.
//!
//! In reading order: [`contract`] says what a request and a result look like on the wire,
//! [`topology`] where they travel, [`broker`] how they are published and consumed. [`config`],
//! [`program`], [`telemetry`], [`stderr`], [`shutdown`], [`health`], [`metrics`], [`open_files`], [`root_cause`], [`spans`] and [`threads`] are the rest of what every program needs.
//!
//! # Other systems on the same layer
//!
//! [`broker`] knows nothing of requests and results, and declares only what it is told. A program of
//! another system uses it with its own [`topology::Topology::of_program`]; the module documentation of
//! [`broker`] shows how, and the folder `examples/` has three such systems. Of the rest it can use
//! [`shutdown`], [`health`], [`telemetry`], [`config::command_line()`] with variables of its own, and
//! [`contract::Message`] for its messages.

pub mod backoff;
pub mod contract;
mod text_log;
pub mod topology;

pub mod broker;

pub mod config;
pub mod error_summary;
pub mod health;
pub mod log_messages;
pub mod metrics;
pub mod open_files;
pub mod program;
pub mod root_cause;
pub mod shutdown;
pub mod spans;
pub mod stderr;
pub mod telemetry;
pub mod threads;
