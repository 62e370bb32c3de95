//! Settings, `setup`, and TLS to the broker.

mod broker_tls;
mod settings;
mod setup;
