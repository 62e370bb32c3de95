//! Tests with real nodes and real processes: what the testbed itself promises, and the whole system on top of it.

mod load;
mod stack;

mod by_id;
mod configuration;
mod described;
mod docs;
mod events;
mod flow;
mod outages;
mod processing;
mod setup;
mod stopping;
mod testbed_itself;
mod tidy;
mod tls;
