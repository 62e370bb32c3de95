//! Configuration of the web service, from flags, environment and `.env`.

use std::{net::SocketAddr, time::Duration};

use pipeline::{
    config::{
        self, BrokerConfig, Logging, ParseError, Reader, Secret, SecretUrl, Size, Variable,
        variables,
    },
    program::Settings,
    topology::{RequestTypes, RetryDelays},
};
use store::Store;
use url::Url;

use crate::{
    allowed_hosts::{AllowedHosts, HostNames},
    doctor::DoctorSettings,
    webhooks::{
        callback_policy::CallbackPolicy, signature::WebhookSecrets, target::AllowedTargets,
    },
};

/// What a worker needs beyond its work and its stop before the broker takes a request back.
const ACK_MARGIN: Duration = Duration::from_secs(120);

/// The settings of the web service.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which broker to use.
    pub broker: BrokerConfig,
    /// `HTTP_ADDR`: where to listen.
    pub address: SocketAddr,
    /// `ALLOWED_HOSTS`: which hosts are served besides the loopback names and the bound address.
    pub allowed_hosts: HostNames,
    /// `DATABASE_URL`: where requests and results are kept. It may hold a password.
    pub database_url: Secret,
    /// `RESULT_RETENTION`: how long a request is kept after its end.
    pub retention: Duration,
    /// `WEBHOOK_SECRET`: the secrets that webhooks are signed with; none turns callbacks off.
    pub webhook_secrets: Option<WebhookSecrets>,
    /// `CALLBACK_ALLOW_PRIVATE`: where callbacks may go.
    pub allowed_targets: AllowedTargets,
    /// `TYPES`: which types of requests there are.
    pub types: RequestTypes,
    /// `BODY_LIMIT`: the longest request body, in bytes.
    pub body_limit: Size,
    /// `PUBLISH_TIMEOUT`: how long a caller waits for the broker's confirm and the commit at most.
    pub publish_timeout: Duration,
    /// `DRAIN_TIMEOUT`: how long a stopping service may take to finish what is in flight.
    pub drain_timeout: Duration,
    /// `JOB_TIMEOUT` of the processors, if it is set for the web service, too.
    pub job_timeout: Option<Duration>,
    /// `PREFETCH` of the processors, if it is set for the web service, too.
    pub prefetch: u16,
    /// `RETRY_DELAYS`: which retry queues there are.
    pub retry_delays: RetryDelays,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: where spans go, if anywhere.
    pub trace_endpoint: Option<SecretUrl>,
    /// How to log.
    pub logging: Logging,
}

impl Settings for Config {
    fn variables() -> Vec<&'static Variable> {
        let own: &[&Variable] = &[
            &variables::HTTP_ADDR,
            &variables::ALLOW_ANONYMOUS,
            &variables::ALLOWED_HOSTS,
            &variables::DATABASE_URL,
            &variables::RESULT_RETENTION,
            &variables::WEBHOOK_SECRET,
            &variables::CALLBACK_ALLOW_PRIVATE,
            &variables::TYPES,
            &variables::BODY_LIMIT,
            &variables::PUBLISH_TIMEOUT,
            &variables::DRAIN_TIMEOUT,
            &variables::JOB_TIMEOUT,
            &variables::PREFETCH,
            &variables::RETRY_DELAYS,
        ];
        let traces: &[&Variable] = &[&variables::OTEL_EXPORTER_OTLP_ENDPOINT];
        [BrokerConfig::VARIABLES, own, Logging::VARIABLES, traces].concat()
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        let config = Self {
            broker: BrokerConfig::read(reader),
            address: reader.read(&variables::HTTP_ADDR, config::address),
            allowed_hosts: reader
                .read_optional(&variables::ALLOWED_HOSTS, HostNames::parse)
                .unwrap_or_default(),
            database_url: reader.read(&variables::DATABASE_URL, database_url),
            retention: reader.read(&variables::RESULT_RETENTION, config::duration),
            webhook_secrets: reader
                .read_optional(&variables::WEBHOOK_SECRET, WebhookSecrets::parse),
            allowed_targets: allowed_targets(
                reader.read(&variables::CALLBACK_ALLOW_PRIVATE, config::flag),
            ),
            types: reader.read(&variables::TYPES, config::request_types),
            body_limit: reader.read(&variables::BODY_LIMIT, config::body_limit),
            publish_timeout: reader.read(&variables::PUBLISH_TIMEOUT, config::duration),
            drain_timeout: reader.read(&variables::DRAIN_TIMEOUT, config::duration_or_zero),
            job_timeout: reader.read_optional(&variables::JOB_TIMEOUT, config::duration),
            prefetch: reader.read(&variables::PREFETCH, config::prefetch),
            retry_delays: reader.read(&variables::RETRY_DELAYS, config::retry_delays),
            trace_endpoint: reader
                .read_optional(&variables::OTEL_EXPORTER_OTLP_ENDPOINT, config::secret_http_url),
            logging: Logging::read(reader),
        };
        let anonymous = reader.read(&variables::ALLOW_ANONYMOUS, config::flag);
        if !anonymous && !config.address.ip().is_loopback() {
            let address = config.address;
            reader.problem(format!(
                "HTTP_ADDR={address}: others can reach this address, and anybody who does could use the API; \
                 set ALLOW_ANONYMOUS=true if that is meant"
            ));
        }
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

    /// Nothing yet: the first lines are where the service listens.
    fn log_start(&self) {}
}

impl Config {
    /// Which `Host` headers are served.
    pub fn allowed_hosts(&self) -> AllowedHosts {
        AllowedHosts::new(self.address, self.allowed_hosts.clone())
    }

    /// What the doctor compares with what it finds.
    pub fn doctor_settings(&self) -> DoctorSettings {
        let work = self.job_timeout.map(|timeout| timeout.saturating_mul(self.prefetch.into()));
        let around_work = self.drain_timeout + ACK_MARGIN;
        DoctorSettings {
            addresses: self.broker.addresses.clone(),
            delays: self.retry_delays.clone(),
            types: self.types.clone(),
            longest_hold: work.map(|work| work.saturating_add(around_work)),
        }
    }

    /// Which `callbackUrl` is taken.
    pub fn callback_policy(&self) -> CallbackPolicy {
        CallbackPolicy { can_sign: self.webhook_secrets.is_some(), allowed: self.allowed_targets }
    }
}

/// Where the store is, if that can be used. It need not be there yet.
fn database_url(value: &str) -> Result<Secret, ParseError> {
    Store::check_url(value).map_err(|error| ParseError::because(error.to_string()))?;
    config::secret(value)
}

fn allowed_targets(allow_private: bool) -> AllowedTargets {
    if allow_private { AllowedTargets::Any } else { AllowedTargets::PublicHttps }
}

#[cfg(test)]
mod tests {
    use pipeline::config::Source;

    use super::*;

    #[test]
    fn listening_beyond_loopback_needs_a_flag() {
        let open = ("HTTP_ADDR", "0.0.0.0:3000");
        let error = Config::from_source(&Source::of(&[open])).unwrap_err();
        assert!(error.to_string().contains("ALLOW_ANONYMOUS=true"), "{error}");
        assert!(Config::from_source(&Source::of(&[open, ("ALLOW_ANONYMOUS", "true")])).is_ok());
        assert!(Config::from_source(&Source::of(&[("HTTP_ADDR", "[::1]:0")])).is_ok());
    }

    #[test]
    fn no_password_is_shown_in_debug_output() {
        let with_password = [
            ("AMQP_URL", "amqp://u:hunter2@h/v"),
            ("DATABASE_URL", "postgres://u:hunter2@h/d"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:hunter2@h:4318"),
        ];
        let config = Config::from_source(&Source::of(&with_password)).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    }

    #[test]
    fn zero_stops_at_once_and_is_no_time_to_publish_or_to_keep_results() {
        let zero = |name| Config::from_source(&Source::of(&[(name, "0")]));
        assert!(zero("DRAIN_TIMEOUT").unwrap().drain_timeout.is_zero());
        for name in ["PUBLISH_TIMEOUT", "RESULT_RETENTION", "BODY_LIMIT"] {
            let error = zero(name).unwrap_err().to_string();
            assert!(error.contains(&format!("{name}=0: takes")), "{error}");
        }
    }
}
