//! Configuration from flags, the environment and `./.env`, in this order; reports all bad values together.
//!
//! [`variables`] is the list of what can be set, in the order of `.env.example`. A program reads
//! its own through a [`Reader`] into a struct of exact types; past that point there are no strings.
//! Only this module looks at the environment.

use crate::{broker::address::Address, log_messages::USING_BROKER};

pub(crate) mod command_line;
mod env_file;
pub(crate) mod parse;
pub(crate) mod reader;
pub(crate) mod source;
pub(crate) mod unknown_names;
pub mod variables;

pub use crate::config::command_line::{
    Arguments, EXIT_CONFIGURATION, command_line, without_passwords,
};
pub use crate::config::env_file::EnvFileError;
pub use crate::config::parse::{LogFormat, ParseError, Secret, SecretUrl, Size};
pub use crate::config::reader::{ConfigError, Reader};
pub use crate::config::source::{Origin, Source};
pub use crate::config::variables::Variable;

/// Which broker to use: `AMQP_URL`, else `CLOUDAMQP_URL`.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// The addresses to try in turn; never empty.
    pub addresses: Vec<Address>,
    /// The variable that named them.
    pub named_by: &'static str,
}

impl BrokerConfig {
    /// What [`BrokerConfig::read`] looks at.
    pub const VARIABLES: &'static [&'static Variable] =
        &[&variables::CLOUDAMQP_URL, &variables::AMQP_URL];

    /// Reads the settings.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let origin = |variable| reader.source().get(variable).map(|(_, origin)| origin);
        let (own, hosted) = (origin(&variables::AMQP_URL), origin(&variables::CLOUDAMQP_URL));
        // A flag of the one comes before a line in .env of the other.
        let hosted = hosted.filter(|hosted| own.is_none_or(|own| *hosted < own));
        let named_by = match (own, hosted) {
            (_, Some(_)) => "CLOUDAMQP_URL",
            (Some(_), None) => "AMQP_URL",
            (None, None) => "the default of AMQP_URL",
        };
        let addresses = match hosted {
            Some(_) => {
                reader.read_optional(&variables::CLOUDAMQP_URL, addresses).unwrap_or_default()
            }
            None => reader.read(&variables::AMQP_URL, addresses),
        };
        Self { addresses, named_by }
    }

    /// Logs the broker's address without its password, and the variable that named it.
    pub fn log(&self) {
        for address in &self.addresses {
            tracing::info!(broker = %address, named_by = self.named_by, "{USING_BROKER}");
        }
    }
}

/// How a program logs: `RUST_LOG` and `LOG_FORMAT`.
#[derive(Debug, Clone)]
pub struct Logging {
    /// A filter in the form of `RUST_LOG`, already checked.
    pub filter: String,
    /// Text or JSON.
    pub format: LogFormat,
}

impl Logging {
    /// What [`Logging::read`] looks at.
    pub const VARIABLES: &'static [&'static Variable] =
        &[&variables::RUST_LOG, &variables::LOG_FORMAT];

    /// Reads the settings.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            filter: reader.read(&variables::RUST_LOG, parse::log_filter),
            format: reader.read(&variables::LOG_FORMAT, parse::log_format),
        }
    }
}

pub use crate::config::parse::{
    address, addresses, body_limit, count, deliveries, duration, duration_or_zero, flag, http_url,
    log_filter, log_format, prefetch, queue_type, request_types, retry_delays, secret,
    secret_http_url, size,
};
