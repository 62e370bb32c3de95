//! Tests with real nodes and real processes: what the testbed itself promises, and the whole system on top of it.

mod asking;
mod database;
mod faulty;
mod https;
mod load;
mod posting;
mod stack;

mod anything;
mod batches;
mod broker_facts;
mod by_id;
mod callbacks;
mod cancelling;
mod cli;
mod configuration;
mod crowd;
mod data;
mod dead_letters;
mod described;
mod docs;
mod durability;
mod events;
mod flow;
mod idempotency;
mod malformed;
mod outages;
mod processing;
mod retrying;
mod setup;
mod stopping;
mod store_away;
mod testbed_itself;
mod tidy;
mod tls;
mod twice;
