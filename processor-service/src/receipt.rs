//! What to do with a request that was delivered, before any work on it. Pure decisions.

use std::time::SystemTime;

use pipeline::{
    contract::{ErrorBody, Message, codes},
    topology::RetryDelays,
};

use crate::{Config, received::Received};

/// From this delivery on a message runs alone in its process: it may be what ended those before.
const SUSPICIOUS: i64 = 3;

/// The limits that decisions go by.
#[derive(Debug, Clone)]
pub struct Policy {
    /// How often work is tried.
    pub attempts: i64,
    /// How often an attempt is delivered.
    pub deliveries: i64,
    /// The pauses between attempts.
    pub delays: RetryDelays,
    /// The longest result in bytes.
    pub result_limit: usize,
}

impl From<&Config> for Policy {
    fn from(config: &Config) -> Self {
        Self {
            attempts: i64::try_from(config.max_attempts).unwrap_or(i64::MAX),
            deliveries: config.max_deliveries,
            delays: config.retry_delays.clone(),
            result_limit: config.result_limit,
        }
    }
}

/// What to do with a request.
#[derive(Debug)]
pub enum Receipt {
    /// Work on it, alone in this process or beside others.
    Work {
        /// Whether nothing else is to run meanwhile.
        alone: bool,
    },
    /// Publish this in its place: it is too early, or the broker didn't count the delivery.
    PassOn(Box<Message>),
    /// End it with this error.
    Refuse(ErrorBody),
}

/// Decides about a delivery.
pub fn receive(received: Received<'_>, policy: &Policy, now: SystemTime) -> Receipt {
    if let Some(at) = received.expired(now) {
        return Receipt::Refuse(ErrorBody::new(codes::EXPIRED, format!("not begun by {at}")));
    }
    // First, so that only counted messages are judged.
    if received.is_uncounted() {
        return Receipt::PassOn(received.counted(now).into());
    }
    let deliveries = received.deliveries();
    if deliveries > policy.deliveries {
        return Receipt::Refuse(poison(deliveries - 1));
    }
    if let Some(left) = received.too_early(now) {
        return Receipt::PassOn(received.put_off(policy.delays.reaching(left), now).into());
    }
    Receipt::Work { alone: deliveries >= SUSPICIOUS }
}

fn poison(deliveries: i64) -> ErrorBody {
    let times = if deliveries == 1 { "once".to_owned() } else { format!("{deliveries} times") };
    let message = format!(
        "delivered {times} (MAX_DELIVERIES), and each time its worker died, hung or lost the broker before it came to an end"
    );
    ErrorBody::new(codes::POISON, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pipeline::contract::{HeaderValue, Properties, headers};

    use super::*;

    const AT: SystemTime = SystemTime::UNIX_EPOCH;

    fn decided(redelivered: bool, headers: &[(&str, HeaderValue)]) -> Receipt {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let properties = Properties { headers: headers.collect(), ..Properties::default() };
        let received =
            Received { routing_key: "request", properties: &properties, body: b"", redelivered };
        let delays = RetryDelays::new([1, 60].map(Duration::from_secs).to_vec()).unwrap();
        let policy = Policy { attempts: 5, deliveries: 5, delays, result_limit: 10 };
        receive(received, &policy, AT)
    }

    fn delivered(before: i64) -> Receipt {
        decided(before > 0, &[(headers::DELIVERY_COUNT, before.into())])
    }

    #[test]
    fn from_the_third_delivery_on_it_runs_alone_and_after_the_last_it_is_poison() {
        let alone = |before| match delivered(before) {
            Receipt::Work { alone } => alone,
            other => panic!("{before}: {other:?}"),
        };
        assert_eq!([0, 1, 2, 4].map(alone), [false, false, true, true]);
        let Receipt::Refuse(error) = delivered(5) else { panic!("it is worked on") };
        assert_eq!(error.code, codes::POISON);
        assert!(error.message.contains("delivered 5 times"), "{}", error.message);
    }

    #[test]
    fn what_no_broker_has_counted_is_counted_before_the_work() {
        let Receipt::PassOn(counted) = decided(true, &[(headers::DELIVERIES, 4.into())]) else {
            panic!("it is worked on")
        };
        assert_eq!(counted.properties.headers.number(headers::DELIVERIES), Some(5));
    }

    #[test]
    fn what_is_too_early_goes_round_by_the_shortest_way_that_is_long_enough() {
        for (left, exchange) in [(1, "1000"), (2, "60000"), (3600, "60000")] {
            let not_before = headers::moment(AT + Duration::from_secs(left));
            let early = decided(false, &[(headers::NOT_BEFORE, not_before.into())]);
            let Receipt::PassOn(off) = early else { panic!("{left}: {early:?}") };
            assert_eq!(off.exchange, format!("processing.retry.{exchange}"));
        }
        let now = decided(false, &[(headers::NOT_BEFORE, headers::moment(AT).into())]);
        assert!(matches!(now, Receipt::Work { .. }));
    }

    #[test]
    fn what_expired_is_not_begun() {
        let late = decided(true, &[(headers::EXPIRES_AT, headers::moment(AT).into())]);
        let Receipt::Refuse(error) = late else { panic!("{late:?}") };
        assert_eq!(error.code, codes::EXPIRED);
    }
}
