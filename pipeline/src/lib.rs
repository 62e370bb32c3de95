//! What the programs of Slowlane agree on, and nothing else: the messages, the topology, the
//! configuration, and the link to the broker.
//!
//! In reading order: [`contract`] says what a request and a result look like on the wire,
//! [`topology`] where they travel, [`broker`] how they get there reliably. [`config`],
//! [`program`], [`telemetry`], [`shutdown`] and [`health`] are what every program needs around that.

pub mod backoff;
pub mod contract;
pub mod topology;

pub mod broker;

pub mod config;
pub mod health;
pub mod log_messages;
pub mod program;
pub mod shutdown;
pub mod telemetry;
