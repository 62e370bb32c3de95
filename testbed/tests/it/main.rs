//! End-to-end tests with real brokers, databases and processes: the whole system, and the testbed itself.

mod api;
mod cli;
mod configuration;
mod developing;
mod examples;
mod failures;
mod house;
mod observing;
mod outages;
mod page;
mod processing;
mod support;
mod testbed_itself;
