//! The HTTP side of Slowlane: accepts requests, hands them to the broker, and receives their
//! results.
//!
//! [`app`] wires everything. [`api`] is what clients see, [`results`] what comes back,
//! [`store`] where requests are to be kept by id.

pub mod api;
pub mod app;
pub mod config;
pub mod results;
pub mod state;
pub mod store;
