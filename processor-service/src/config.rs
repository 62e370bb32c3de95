//! What a processor is told.

use std::time::Duration;

use pipeline::{
    config::{self, BrokerConfig, ConfigError, Logging, Reader, Size, Source, Variable, variables},
    topology::RetryDelays,
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
    /// `MAX_ATTEMPTS`: how often work is tried that fails in a way that may pass.
    pub max_attempts: usize,
    /// `RETRY_DELAYS`: how long a request waits for its next attempt.
    pub retry_delays: RetryDelays,
    /// `MAX_DELIVERIES`: how often a request is worked on without coming to an end.
    pub max_deliveries: i64,
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
            &variables::MAX_ATTEMPTS,
            &variables::RETRY_DELAYS,
            &variables::MAX_DELIVERIES,
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
            max_attempts: reader.read(&variables::MAX_ATTEMPTS, config::count),
            retry_delays: reader.read(&variables::RETRY_DELAYS, config::retry_delays),
            max_deliveries: reader.read(&variables::MAX_DELIVERIES, config::deliveries),
            drain_timeout: reader.read(&variables::DRAIN_TIMEOUT, config::duration),
            logging: Logging::read(&mut reader),
        };
        reader.finish().map(|()| config)
    }
}
