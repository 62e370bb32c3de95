//! The broker or the database goes away under load and comes back.

mod broker;
mod confirms;
mod log_reader;
mod store;
