//! What the web service is told.

use std::{net::SocketAddr, time::Duration};

use pipeline::config::{
    self, BrokerConfig, ConfigError, Logging, Reader, Secret, Size, Source, Variable, variables,
};

/// The settings of the web service.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which broker to use.
    pub broker: BrokerConfig,
    /// `HTTP_ADDR`: where to listen.
    pub address: SocketAddr,
    /// `DATABASE_URL`: where requests and results are kept. It may hold a password.
    pub database_url: Secret,
    /// `RESULT_RETENTION`: how long a request is kept after its end.
    pub retention: Duration,
    /// `BODY_LIMIT`: the longest request body, in bytes.
    pub body_limit: Size,
    /// `PUBLISH_TIMEOUT`: how long a caller waits for the broker's confirm at most.
    pub publish_timeout: Duration,
    /// `DRAIN_TIMEOUT`: how long a stopping service may finish what it has in hand.
    pub drain_timeout: Duration,
    /// How to log.
    pub logging: Logging,
}

impl Config {
    /// Everything the web service looks at.
    pub fn variables() -> Vec<&'static Variable> {
        let own: &[&Variable] = &[
            &variables::HTTP_ADDR,
            &variables::ALLOW_ANONYMOUS,
            &variables::DATABASE_URL,
            &variables::RESULT_RETENTION,
            &variables::BODY_LIMIT,
            &variables::PUBLISH_TIMEOUT,
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
            address: reader.read(&variables::HTTP_ADDR, config::address),
            database_url: reader.read(&variables::DATABASE_URL, config::secret),
            retention: reader.read(&variables::RESULT_RETENTION, config::duration),
            body_limit: reader.read(&variables::BODY_LIMIT, config::body_limit),
            publish_timeout: reader.read(&variables::PUBLISH_TIMEOUT, config::duration),
            drain_timeout: reader.read(&variables::DRAIN_TIMEOUT, config::duration),
            logging: Logging::read(&mut reader),
        };
        let anonymous = reader.read(&variables::ALLOW_ANONYMOUS, config::flag);
        if !anonymous && !config.address.ip().is_loopback() {
            let address = config.address;
            reader.problem(format!(
                "HTTP_ADDR={address}: others can reach this address, and anybody who does could use the API; \
                 set ALLOW_ANONYMOUS=true if that is meant"
            ));
        }
        reader.finish().map(|()| config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_beyond_this_machine_needs_consent() {
        let open = ("HTTP_ADDR", "0.0.0.0:3000");
        let error = Config::read(&Source::of(&[open])).unwrap_err();
        assert!(error.to_string().contains("ALLOW_ANONYMOUS=true"), "{error}");
        assert!(Config::read(&Source::of(&[open, ("ALLOW_ANONYMOUS", "true")])).is_ok());
        assert!(Config::read(&Source::of(&[("HTTP_ADDR", "[::1]:0")])).is_ok());
    }
}
