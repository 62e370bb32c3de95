//! What a processor is told.

use std::time::Duration;

use humantime::format_duration;
use pipeline::{
    config::{
        self, BrokerConfig, ConfigError, Logging, ParseError, Reader, Size, Source, Variable,
        variables,
    },
    program::Settings,
    topology::RetryDelays,
};

use crate::processors::{CommandLine, Kind};

/// What `ACK_TIMEOUT` leaves for publishing and for clocks that differ.
const RESERVE: Duration = Duration::from_secs(120);
/// The longest `JOB_TIMEOUT`.
const LONGEST_JOB: Duration = Duration::from_secs(30 * 24 * 3600);

/// The settings of a processor.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which broker to use.
    pub broker: BrokerConfig,
    /// `WORKERS`: how many requests are worked on at a time.
    pub workers: usize,
    /// `PROCESSOR`, and `PROCESSOR_COMMAND` with it: which work is done.
    pub processor: Kind,
    /// `PROCESSING_DELAY`: how long the simulated work takes.
    pub processing_delay: Duration,
    /// `RESULT_LIMIT`: the longest result, in bytes.
    pub result_limit: Size,
    /// `JOB_TIMEOUT`: how long one attempt at a request may take.
    pub job_timeout: Duration,
    /// `ACK_TIMEOUT`: how long the broker leaves a request to its worker.
    pub ack_timeout: Duration,
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

impl Settings for Config {
    fn variables() -> Vec<&'static Variable> {
        let own: &[&Variable] = &[
            &variables::ACK_TIMEOUT,
            &variables::RESULT_LIMIT,
            &variables::WORKERS,
            &variables::PROCESSOR,
            &variables::PROCESSING_DELAY,
            &variables::PROCESSOR_COMMAND,
            &variables::JOB_TIMEOUT,
            &variables::MAX_ATTEMPTS,
            &variables::RETRY_DELAYS,
            &variables::MAX_DELIVERIES,
            &variables::DRAIN_TIMEOUT,
        ];
        [BrokerConfig::VARIABLES, own, Logging::VARIABLES].concat()
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        let config = Self {
            broker: BrokerConfig::read(reader),
            workers: reader.read(&variables::WORKERS, config::count),
            processor: kind(reader),
            processing_delay: reader.read(&variables::PROCESSING_DELAY, config::duration),
            result_limit: reader.read(&variables::RESULT_LIMIT, config::body_limit),
            job_timeout: reader.read(&variables::JOB_TIMEOUT, job_timeout),
            ack_timeout: reader.read(&variables::ACK_TIMEOUT, config::duration),
            max_attempts: reader.read(&variables::MAX_ATTEMPTS, config::count),
            retry_delays: reader.read(&variables::RETRY_DELAYS, config::retry_delays),
            max_deliveries: reader.read(&variables::MAX_DELIVERIES, config::deliveries),
            drain_timeout: reader.read(&variables::DRAIN_TIMEOUT, config::duration),
            logging: Logging::read(reader),
        };
        config.fits(reader);
        config
    }

    fn broker(&self) -> &BrokerConfig {
        &self.broker
    }

    fn logging(&self) -> &Logging {
        &self.logging
    }
}

impl Config {
    /// Reads the settings.
    ///
    /// # Errors
    /// If any value is bad; the error names every bad value.
    pub fn read(source: &Source) -> Result<Self, ConfigError> {
        Self::from_source(source)
    }

    /// Whether the broker leaves a request to its worker for as long as that may need it: otherwise it
    /// would be worked on twice, by two workers, each time.
    fn fits(&self, reader: &mut Reader<'_>) {
        let beside = self.drain_timeout.saturating_add(RESERVE);
        let needed = self.job_timeout.saturating_add(beside);
        if needed <= self.ack_timeout {
            return;
        }
        let [job, drain, reserve, needed, ack] =
            [self.job_timeout, self.drain_timeout, RESERVE, needed, self.ack_timeout]
                .map(format_duration);
        let shorter = match self.ack_timeout.checked_sub(beside) {
            Some(left) if !left.is_zero() => {
                format!("a JOB_TIMEOUT of at most {}, or ", format_duration(left))
            }
            _ => String::new(),
        };
        reader.problem(format!(
            "JOB_TIMEOUT={job}, DRAIN_TIMEOUT={drain} and {reserve} to spare don't fit into ACK_TIMEOUT={ack}, after which the \
             broker takes a request back; {shorter}an ACK_TIMEOUT of at least {needed}, for setup too, would do"
        ));
    }
}

/// Which work is done. A command is looked at only if it is to be started.
fn kind(reader: &mut Reader<'_>) -> Kind {
    if !reader.read(&variables::PROCESSOR, is_command) {
        return Kind::Simulate;
    }
    let missing = reader.source().get(&variables::PROCESSOR_COMMAND).is_none();
    let line = reader.read_optional(&variables::PROCESSOR_COMMAND, |text| {
        CommandLine::parse(text).map_err(ParseError::because)
    });
    if missing {
        let takes = variables::PROCESSOR_COMMAND.takes;
        reader
            .problem(format!("PROCESSOR_COMMAND= is needed with PROCESSOR=command: takes {takes}"));
    }
    line.map_or(Kind::Simulate, Kind::Command)
}

/// Whether the work is a command's.
fn is_command(value: &str) -> Result<bool, ParseError> {
    match value {
        "simulate" => Ok(false),
        "command" => Ok(true),
        _ => Err(ParseError::default()),
    }
}

/// A time limit for jobs. It goes into dates, which have an end.
fn job_timeout(value: &str) -> Result<Duration, ParseError> {
    let limit = config::duration(value)?;
    if limit > LONGEST_JOB { Err(ParseError::default()) } else { Ok(limit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(values: &[(&str, &str)]) -> String {
        Config::read(&Source::of(values)).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_job_must_be_over_before_the_broker_takes_its_request_back() {
        assert!(Config::read(&Source::of(&[("JOB_TIMEOUT", "27m35s")])).is_ok());
        let text = refused(&[("JOB_TIMEOUT", "28m")]);
        let all = ["JOB_TIMEOUT=28m,", "DRAIN_TIMEOUT=25s", "ACK_TIMEOUT=30m,"];
        for said in all.iter().chain(&["at most 27m 35s", "at least 30m 25s"]) {
            assert!(text.contains(said), "{said}: {text}");
        }
        assert!(
            Config::read(&Source::of(&[("JOB_TIMEOUT", "28m"), ("ACK_TIMEOUT", "1h")])).is_ok()
        );
        let text = refused(&[("DRAIN_TIMEOUT", "1000000y"), ("JOB_TIMEOUT", "1s")]);
        assert!(text.contains("; an ACK_TIMEOUT of at least"), "{text}");
    }

    #[test]
    fn a_job_can_be_given_a_month() {
        let long = [("ACK_TIMEOUT", "60d"), ("JOB_TIMEOUT", "30d")];
        assert!(Config::read(&Source::of(&long)).is_ok());
        let text = refused(&[("ACK_TIMEOUT", "60d"), ("JOB_TIMEOUT", "31d")]);
        assert!(text.contains("JOB_TIMEOUT=31d: takes"), "{text}");
    }

    #[test]
    fn a_command_is_needed_where_it_is_the_work() {
        let processor =
            |values: &[(&str, &str)]| Config::read(&Source::of(values)).unwrap().processor;
        assert!(matches!(processor(&[]), Kind::Simulate));
        assert!(matches!(processor(&[("PROCESSOR_COMMAND", "no-such-program")]), Kind::Simulate));
        let command = [("PROCESSOR", "command"), ("PROCESSOR_COMMAND", "sh -c true")];
        assert!(matches!(processor(&command), Kind::Command(_)));
        let text = refused(&[("PROCESSOR", "command")]);
        assert!(text.contains("PROCESSOR_COMMAND= is needed with PROCESSOR=command"), "{text}");
        let text =
            refused(&[("PROCESSOR", "command"), ("PROCESSOR_COMMAND", "no-such-program -x")]);
        assert!(text.contains("no program \"no-such-program\""), "{text}");
        let text = refused(&[("PROCESSOR", "http")]);
        assert!(text.contains("PROCESSOR=http: takes simulate or command"), "{text}");
    }
}
