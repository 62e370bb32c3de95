//! Settings of a service: its broker, its address, its database file, its log.

use std::{net::SocketAddr, path::PathBuf};

use pipeline::{
    config::{self, BrokerConfig, Logging, ParseError, Reader, Variable},
    program,
};

static HTTP_ADDR: Variable = Variable {
    name: "HTTP_ADDR",
    default: Some("127.0.0.1:0"),
    takes: "an IP address and a port like 127.0.0.1:8000",
    about: "Where the service listens; port 0 takes a free one, which the log names.",
    secret: false,
};

static DATABASE: Variable = Variable {
    name: "DATABASE",
    default: None,
    takes: "a path like service.db",
    about: "The SQLite file of the service, which no other service may use. It is made if it is missing.",
    secret: false,
};

/// The settings of a service.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which broker to use.
    pub broker: BrokerConfig,
    /// `HTTP_ADDR`: where to listen.
    pub address: SocketAddr,
    /// `DATABASE`: the service's own file.
    pub database: PathBuf,
    /// How to log.
    pub logging: Logging,
}

impl program::Settings for Settings {
    fn variables() -> Vec<&'static Variable> {
        let own: &[&Variable] = &[&HTTP_ADDR, &DATABASE];
        [BrokerConfig::VARIABLES, own, Logging::VARIABLES].concat()
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        let settings = Self {
            broker: BrokerConfig::read(reader),
            address: reader.read(&HTTP_ADDR, config::address),
            database: reader.read_optional(&DATABASE, path).unwrap_or_default(),
            logging: Logging::read(reader),
        };
        if settings.database.as_os_str().is_empty() {
            reader.problem(format!("DATABASE is not set: takes {}", DATABASE.takes));
        }
        settings
    }

    fn broker(&self) -> &BrokerConfig {
        &self.broker
    }

    fn logging(&self) -> &Logging {
        &self.logging
    }
}

fn path(text: &str) -> Result<PathBuf, ParseError> {
    Ok(PathBuf::from(text))
}
