//! Logging: text for people or JSON for programs, on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::parse::LogFormat;

/// Starts logging for the whole process. `filter` is a `RUST_LOG` value that was checked before.
///
/// Standard output stays free for what a program is asked to print.
pub fn start(filter: &str, format: LogFormat) {
    // What the HTTP server says of its threads helps nobody; naming it in RUST_LOG brings it back.
    let filter = EnvFilter::new(format!("actix_server=warn,{filter}"));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer().with_writer(io::stderr);
    match format {
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).init(),
        LogFormat::Text if io::stderr().is_terminal() => registry.with(layer).init(),
        LogFormat::Text => registry.with(layer.with_ansi(false)).init(),
    }
}
