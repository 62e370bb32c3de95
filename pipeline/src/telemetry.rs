//! Logging: text for people or JSON for programs, on standard error.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, IsTerminal},
};

use tracing::error;
use tracing_subscriber::{
    EnvFilter, Registry, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use crate::{
    config::{
        parse::{LogFormat, ParseError, log_filter},
        source,
    },
    stderr::StderrWriter,
    text_log::TextLayer,
};

/// Changes what is logged while the program runs.
pub struct LogFilter(reload::Handle<EnvFilter, Registry>);

impl LogFilter {
    /// Logs what this `RUST_LOG` value says from now on.
    ///
    /// # Errors
    /// If it isn't one; then nothing changes.
    pub fn set(&self, filter: &str) -> Result<(), ParseError> {
        let filter = env_filter(&log_filter(filter)?);
        self.0.reload(filter).map_err(|error| ParseError::because(error.to_string()))
    }
}

/// Starts logging for the whole process. `filter` is a `RUST_LOG` value that was checked before.
///
/// Standard output stays free for what a program is asked to print. A line never waits for whoever reads standard error;
/// before the program ends, [`stderr::flush`](crate::stderr::flush) writes those on their way.
pub fn start(filter: &str, format: LogFormat) -> LogFilter {
    let (filter, handle) = reload::Layer::new(env_filter(filter));
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Json => {
            let layer = fmt::layer().with_writer(|| StderrWriter);
            registry.with(layer.json().flatten_event(true)).init();
        }
        LogFormat::Text => {
            let has_colours = io::stderr().is_terminal() && source::allows_colours();
            registry.with(TextLayer { has_colours }).init();
        }
    }
    log_panics();
    LogFilter(handle)
}

fn env_filter(filter: &str) -> EnvFilter {
    // What the HTTP server says of its threads helps nobody; naming it in RUST_LOG brings it back.
    EnvFilter::new(format!("actix_server=warn,{filter}"))
}

/// Logs panics as everything else. The usual message on standard error waits until it is read.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        match backtrace.status() {
            BacktraceStatus::Captured => error!("{panic}\n{backtrace}"),
            _ => error!("{panic}"),
        }
    }));
}
