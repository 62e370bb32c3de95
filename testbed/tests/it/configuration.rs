//! Settings, `setup`, and TLS to the broker.

mod broker_limits;
mod broker_tls;
mod permissions;
mod pooler;
mod settings;
mod setup;
mod two_web_services;
mod wrong_ports;
