//! Tests with real nodes and real processes: what the testbed itself promises, and the whole system on top of it.

mod api;
mod cli;
mod configuration;
mod failures;
mod house;
mod outages;
mod processing;
mod support;
mod testbed_itself;
