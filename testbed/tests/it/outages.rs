//! The broker or the database goes away under load and comes back; clients send too much, or half.

mod broker;
mod confirms;
mod log_reader;
mod memory;
mod reasons;
mod refused;
mod setup;
mod store;
mod uploads;
