//! Settings of `setup`.

use std::time::Duration;

use pipeline::{
    config::{self, BrokerConfig, Logging, Reader, Variable, variables},
    program::Settings,
    topology::{QueueType, Topology},
};

/// The settings of `setup`.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) broker: BrokerConfig,
    /// From `QUEUE_TYPE`, `ACK_TIMEOUT`, `TYPES` and `RETRY_DELAYS`.
    pub(crate) topology: Topology,
    pub(crate) kind: QueueType,
    pub(crate) ack_timeout: Duration,
    pub(crate) logging: Logging,
}

/// Brokers check acknowledgement timeouts only once a minute.
const MIN_ACK_TIMEOUT: Duration = Duration::from_secs(60);

impl Settings for Config {
    fn variables() -> Vec<&'static Variable> {
        let own: &[&Variable] = &[
            &variables::QUEUE_TYPE,
            &variables::ACK_TIMEOUT,
            &variables::TYPES,
            &variables::RETRY_DELAYS,
        ];
        [BrokerConfig::VARIABLES, own, Logging::VARIABLES].concat()
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        let kind = reader.read(&variables::QUEUE_TYPE, config::queue_type);
        let ack_timeout = reader.read(&variables::ACK_TIMEOUT, config::duration);
        let types = reader.read(&variables::TYPES, config::request_types);
        let delays = reader.read(&variables::RETRY_DELAYS, config::retry_delays);
        if ack_timeout < MIN_ACK_TIMEOUT {
            reader.problem(format!(
                "ACK_TIMEOUT={ack_timeout:?}: takes {}",
                variables::ACK_TIMEOUT.takes
            ));
        }
        Self {
            broker: BrokerConfig::read(reader),
            topology: Topology::new(kind, ack_timeout, &types).retrying(kind, &delays),
            kind,
            ack_timeout,
            logging: Logging::read(reader),
        }
    }

    fn broker(&self) -> &BrokerConfig {
        &self.broker
    }

    fn logging(&self) -> &Logging {
        &self.logging
    }
}

#[cfg(test)]
mod tests {
    use pipeline::config::Source;

    use super::*;

    #[test]
    fn an_ack_timeout_below_a_minute_is_refused() {
        let error =
            Config::from_source(&Source::of(&[("ACK_TIMEOUT", "30s"), ("QUEUE_TYPE", "stream")]))
                .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("ACK_TIMEOUT=30s: takes") && text.contains("QUEUE_TYPE=stream: takes"),
            "{text}"
        );
    }
}
