//! What a processor is told.

use std::time::Duration;

use pipeline::config::{
    self, BrokerConfig, ConfigError, Logging, Reader, Size, Source, Variable, variables,
};

/// The settings of a processor.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which broker to use.
    pub broker: BrokerConfig,
    /// `WORKERS`: how many requests are worked on at a time.
    pub workers: usize,
    /// `PROCESSING_DELAY`: how long the simulated work takes.
    pub processing_delay: Duration,
    /// `RESULT_LIMIT`: the longest result, in bytes.
    pub result_limit: Size,
    /// `DRAIN_TIMEOUT`: how long a stopping processor may finish what it has in hand.
    pub drain_timeout: Duration,
    /// How to log.
    pub logging: Logging,
}

impl Config {
    /// Everything a processor looks at.
    pub fn variables() -> Vec<&'static Variable> {
        let own: &[&Variable] = &[
            &variables::RESULT_LIMIT,
            &variables::WORKERS,
            &variables::PROCESSING_DELAY,
            &variables::DRAIN_TIMEOUT,
        ];
        [BrokerConfig::VARIABLES, own, Logging::VARIABLES].concat()
    }

    /// Reads the settings.
    ///
    /// # Errors
    /// With every bad value, if there is any.
    pub fn read(source: &Source) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(source);
        let config = Self {
            broker: BrokerConfig::read(&mut reader),
            workers: reader.read(&variables::WORKERS, config::count),
            processing_delay: reader.read(&variables::PROCESSING_DELAY, config::duration),
            result_limit: reader.read(&variables::RESULT_LIMIT, config::body_limit),
            drain_timeout: reader.read(&variables::DRAIN_TIMEOUT, config::duration),
            logging: Logging::read(&mut reader),
        };
        reader.finish().map(|()| config)
    }
}
