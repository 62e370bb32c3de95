//! The settings of a worker program.

use std::{net::SocketAddr, time::Duration};

use humantime::format_duration;
use pipeline::{
    config::{
        self, BrokerConfig, ConfigError, Logging, ParseError, Reader, SecretUrl, Size, Source,
        Variable, variables,
    },
    program::Settings,
    topology::{RequestTypes, RetryDelays},
};
use url::Url;

use crate::decisions::policy::Policy;

/// What `ACK_TIMEOUT` must leave for publishing the result, and for clocks that differ.
const ACK_TIMEOUT_RESERVE: Duration = Duration::from_secs(120);
/// The most workers in one process: each takes a channel, and a broker allows 2047.
const MAX_WORKERS: usize = 1000;
/// The longest `JOB_TIMEOUT`: 30 days.
const MAX_JOB_TIMEOUT: Duration = Duration::from_secs(30 * 24 * 3600);
/// The shortest time that a request waits to run isolated.
const MIN_ISOLATION_TIMEOUT: Duration = Duration::from_secs(60);
/// The least `MAX_DELIVERIES` with a `PREFETCH` above 1.
const MIN_DELIVERIES_WITH_PREFETCH: i64 = 3;

/// The settings of a worker program: those of `processor-service` but for its `PROCESSOR`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// `AMQP_URL` or `CLOUDAMQP_URL`: which broker to use.
    pub broker: BrokerConfig,
    /// `TYPES`: which types of requests are processed.
    pub types: RequestTypes,
    /// `WORKERS`: how many requests of each type are processed at the same time.
    pub workers: usize,
    /// `PREFETCH`: how many requests each worker may hold while it works on one of them.
    pub prefetch: u16,
    /// `RESULT_LIMIT`: the longest result, in bytes.
    pub result_limit: Size,
    /// `JOB_TIMEOUT`: how long one attempt at a request may take.
    pub job_timeout: Duration,
    /// `ACK_TIMEOUT`: how long a worker may hold a request before the broker takes it back.
    pub ack_timeout: Duration,
    /// `MAX_ATTEMPTS`: how many attempts a request has whose jobs fail with transient errors.
    pub max_attempts: usize,
    /// `RETRY_DELAYS`: how long a request waits for its next attempt.
    pub retry_delays: RetryDelays,
    /// `MAX_DELIVERIES`: how often an attempt is delivered to workers that die or hang.
    pub max_deliveries: i64,
    /// `DRAIN_TIMEOUT`: how long a stopping program may finish the requests in flight.
    pub drain_timeout: Duration,
    /// `PROCESSOR_HTTP_ADDR`: where health and metrics are served, if at all.
    pub http_address: Option<SocketAddr>,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: where spans go, if anywhere.
    pub trace_endpoint: Option<SecretUrl>,
    /// `RUST_LOG` and `LOG_FORMAT`: what to log, and how.
    pub logging: Logging,
}

impl Settings for Config {
    fn variables() -> Vec<&'static Variable> {
        let own: &[&Variable] = &[
            &variables::ACK_TIMEOUT,
            &variables::RESULT_LIMIT,
            &variables::TYPES,
            &variables::WORKERS,
            &variables::PREFETCH,
            &variables::JOB_TIMEOUT,
            &variables::MAX_ATTEMPTS,
            &variables::RETRY_DELAYS,
            &variables::MAX_DELIVERIES,
            &variables::DRAIN_TIMEOUT,
            &variables::PROCESSOR_HTTP_ADDR,
        ];
        let traces: &[&Variable] = &[&variables::OTEL_EXPORTER_OTLP_ENDPOINT];
        [BrokerConfig::VARIABLES, own, Logging::VARIABLES, traces].concat()
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        let config = Self {
            broker: BrokerConfig::read(reader),
            types: reader.read(&variables::TYPES, config::request_types),
            workers: reader.read(&variables::WORKERS, config::count),
            prefetch: reader.read(&variables::PREFETCH, config::prefetch),
            result_limit: reader.read(&variables::RESULT_LIMIT, config::body_limit),
            job_timeout: reader.read(&variables::JOB_TIMEOUT, job_timeout),
            ack_timeout: reader.read(&variables::ACK_TIMEOUT, config::duration),
            max_attempts: reader.read(&variables::MAX_ATTEMPTS, config::count),
            retry_delays: reader.read(&variables::RETRY_DELAYS, config::retry_delays),
            max_deliveries: reader.read(&variables::MAX_DELIVERIES, config::deliveries),
            drain_timeout: reader.read(&variables::DRAIN_TIMEOUT, config::duration_or_zero),
            http_address: reader.read_optional(&variables::PROCESSOR_HTTP_ADDR, config::address),
            trace_endpoint: reader
                .read_optional(&variables::OTEL_EXPORTER_OTLP_ENDPOINT, config::secret_http_url),
            logging: Logging::read(reader),
        };
        config.check_workers(reader);
        config.check_ack_timeout(reader);
        config.check_deliveries(reader);
        config
    }

    fn broker(&self) -> &BrokerConfig {
        &self.broker
    }

    fn logging(&self) -> &Logging {
        &self.logging
    }

    fn trace_endpoint(&self) -> Option<&Url> {
        self.trace_endpoint.as_ref().map(SecretUrl::expose)
    }
}

impl Config {
    /// Reads the settings from a source. [`Source::of_process`] has the environment and `.env`.
    ///
    /// # Errors
    /// If any value is bad; the error names every bad value.
    pub fn read(source: &Source) -> Result<Self, ConfigError> {
        Self::from_source(source)
    }

    /// The limits that decisions go by.
    pub(crate) fn policy(&self) -> Policy {
        Policy {
            max_attempts: i64::try_from(self.max_attempts).unwrap_or(i64::MAX),
            max_deliveries: self.max_deliveries,
            retry_delays: self.retry_delays.clone(),
            result_limit: self.result_limit,
        }
    }

    /// How many requests are processed at the same time, of all types.
    pub(crate) fn all_workers(&self) -> usize {
        self.workers.saturating_mul(self.types.count())
    }

    /// How long a request may wait to run isolated: after that its job can still end before the broker takes the request
    /// back.
    pub(crate) fn isolation_timeout(&self) -> Duration {
        let used = self.job_timeout.saturating_add(self.drain_timeout);
        let left = self.ack_timeout.saturating_sub(used.saturating_add(MIN_ISOLATION_TIMEOUT));
        left.max(MIN_ISOLATION_TIMEOUT)
    }

    /// How long a delivery may be held at most, beside the time to stop and to publish: each of those that a worker holds
    /// may wait for the jobs of all others.
    fn job_time(&self) -> Duration {
        self.job_timeout.saturating_mul(self.prefetch.into())
    }

    /// Checks that the broker has a channel for each worker.
    fn check_workers(&self, reader: &mut Reader<'_>) {
        let (workers, types, all) = (self.workers, self.types.count(), self.all_workers());
        if all > MAX_WORKERS {
            reader.problem(format!(
                "WORKERS={workers} for each of the {types} TYPES makes {all} workers, and one process has {MAX_WORKERS} at most"
            ));
        }
    }

    /// Checks that the broker leaves a request to its worker for as long as its job, and those before it, may need.
    /// Otherwise two workers would process it at the same time, again and again.
    fn check_ack_timeout(&self, reader: &mut Reader<'_>) {
        let beside_job = self.drain_timeout.saturating_add(ACK_TIMEOUT_RESERVE);
        let needed = self.job_time().saturating_add(beside_job);
        if needed <= self.ack_timeout {
            return;
        }
        let [job, drain, reserve, needed, ack] =
            [self.job_timeout, self.drain_timeout, ACK_TIMEOUT_RESERVE, needed, self.ack_timeout]
                .map(format_duration);
        let left = self.ack_timeout.checked_sub(beside_job).unwrap_or_default();
        let shorter_job = match whole_seconds(left / u32::from(self.prefetch)) {
            left if left.is_zero() => String::new(),
            left => format!("a JOB_TIMEOUT of at most {}, or ", format_duration(left)),
        };
        let (times, fewer) = match self.prefetch {
            1 => (String::new(), ""),
            prefetch => (format!(" times PREFETCH={prefetch}"), "a smaller PREFETCH, or "),
        };
        reader.problem(format!(
            "JOB_TIMEOUT={job}{times}, DRAIN_TIMEOUT={drain} and {reserve} to spare don't fit into ACK_TIMEOUT={ack}, after which the \
             broker takes a request back; set {shorter_job}{fewer}an ACK_TIMEOUT of at least {needed}, for setup too"
        ));
    }

    /// Checks that no request is given up only because it has waited in processes that were killed.
    fn check_deliveries(&self, reader: &mut Reader<'_>) {
        let (prefetch, deliveries) = (self.prefetch, self.max_deliveries);
        if prefetch > 1 && deliveries < MIN_DELIVERIES_WITH_PREFETCH {
            reader.problem(format!(
                "PREFETCH={prefetch} needs a MAX_DELIVERIES of at least {MIN_DELIVERIES_WITH_PREFETCH}, not {deliveries}: a request \
                 that waits in a process that is killed counts as delivered once"
            ));
        }
    }
}

/// The same without a fraction of a second, if that leaves anything.
fn whole_seconds(time: Duration) -> Duration {
    match time.as_secs() {
        0 => time,
        seconds => Duration::from_secs(seconds),
    }
}

/// Parses `JOB_TIMEOUT`. It is added to dates, which have an end.
fn job_timeout(value: &str) -> Result<Duration, ParseError> {
    let limit = config::duration(value)?;
    if limit > MAX_JOB_TIMEOUT { Err(ParseError::default()) } else { Ok(limit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(values: &[(&str, &str)]) -> String {
        Config::read(&Source::of(values)).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn zero_stops_at_once_and_is_no_time_to_work() {
        let config = Config::read(&Source::of(&[("DRAIN_TIMEOUT", "0")])).unwrap();
        assert!(config.drain_timeout.is_zero());
        for name in
            ["JOB_TIMEOUT", "WORKERS", "PREFETCH", "MAX_ATTEMPTS", "MAX_DELIVERIES", "RESULT_LIMIT"]
        {
            let text = refused(&[(name, "0")]);
            assert!(text.contains(&format!("{name}=0: takes")), "{text}");
        }
    }

    #[test]
    fn no_password_is_shown_in_debug_output() {
        let traces = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:hunter2@h:4318");
        let all = [("AMQP_URL", "amqp://u:hunter2@h/v"), traces];
        let config = Config::read(&Source::of(&all)).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    }

    #[test]
    fn each_type_has_its_workers_and_the_broker_a_channel_for_each() {
        let of = |workers| Config::read(&Source::of(&[("TYPES", "a,b,c"), ("WORKERS", workers)]));
        assert_eq!(of("333").unwrap().all_workers(), 999);
        let text = refused(&[("TYPES", "a,b,c"), ("WORKERS", "334")]);
        assert!(text.contains("WORKERS=334 for each of the 3 TYPES makes 1002 workers"), "{text}");
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
        let text = refused(&[("DRAIN_TIMEOUT", "36500d"), ("JOB_TIMEOUT", "1s")]);
        assert!(text.contains("; set an ACK_TIMEOUT of at least"), "{text}");
    }

    #[test]
    fn the_jobs_of_all_that_a_worker_holds_must_be_over_before_the_broker_takes_one_back() {
        let held = |job| Config::read(&Source::of(&[("PREFETCH", "16"), ("JOB_TIMEOUT", job)]));
        assert!(held("1m43s").is_ok());
        let text = held("1m44s").map(|_| ()).unwrap_err().to_string();
        let all =
            ["JOB_TIMEOUT=1m 44s times PREFETCH=16,", "at most 1m 43s,", "a smaller PREFETCH,"];
        for said in all.iter().chain(&["ACK_TIMEOUT of at least 30m 9s"]) {
            assert!(text.contains(said), "{said}: {text}");
        }
        assert!(refused(&[("PREFETCH", "2")]).contains("JOB_TIMEOUT=25m times PREFETCH=2,"));
    }

    #[test]
    fn what_only_waited_in_a_process_that_was_killed_is_not_given_up() {
        let short = [("PREFETCH", "2"), ("JOB_TIMEOUT", "1m")];
        let with = |deliveries| [short[0], short[1], ("MAX_DELIVERIES", deliveries)];
        assert!(Config::read(&Source::of(&with("3"))).is_ok());
        assert!(refused(&with("2")).contains("MAX_DELIVERIES of at least 3, not 2"));
        assert!(Config::read(&Source::of(&[("MAX_DELIVERIES", "1")])).is_ok(), "nothing waits");
    }

    #[test]
    fn a_job_can_be_given_a_month() {
        let long = [("ACK_TIMEOUT", "60d"), ("JOB_TIMEOUT", "30d")];
        assert!(Config::read(&Source::of(&long)).is_ok());
        let text = refused(&[("ACK_TIMEOUT", "60d"), ("JOB_TIMEOUT", "31d")]);
        assert!(text.contains("JOB_TIMEOUT=31d: takes"), "{text}");
    }
}
