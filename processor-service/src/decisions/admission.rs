//! Admission: whether a delivered request is processed, republished or rejected.

use std::time::SystemTime;

use pipeline::contract::{ErrorBody, Message, codes};

use crate::decisions::{incoming::IncomingRequest, policy::Policy};

/// From this delivery on, a request runs isolated in its process: it may be what ended the earlier ones.
const FIRST_ISOLATED_DELIVERY: i64 = 3;

/// What to do with a delivered request.
#[derive(Debug)]
pub(crate) enum Admission {
    /// Process it.
    Accept {
        /// Whether no other request may run in this process meanwhile.
        isolated: bool,
    },
    /// Publish this message in its place: it is too early, or the broker did not count the delivery.
    Republish(Box<Message>),
    /// End it with this error.
    Reject(ErrorBody),
}

/// Decides about a delivered request.
pub(crate) fn admit(request: IncomingRequest<'_>, policy: &Policy, now: SystemTime) -> Admission {
    if let Some(at) = request.expired_at(now) {
        return Admission::Reject(ErrorBody::new(codes::EXPIRED, format!("not started by {at}")));
    }
    // Before the limit is checked, so that it is checked with the right count.
    if request.is_uncounted_redelivery() {
        return Admission::Republish(request.counted_copy(now).into());
    }
    let deliveries = request.deliveries();
    if deliveries > policy.max_deliveries {
        return Admission::Reject(poison(deliveries - 1));
    }
    if let Some(left) = request.time_until_not_before(now) {
        let delay = policy.retry_delays.reaching(left);
        return Admission::Republish(request.postponed_copy(delay, now).into());
    }
    Admission::Accept { isolated: deliveries >= FIRST_ISOLATED_DELIVERY }
}

fn poison(deliveries: i64) -> ErrorBody {
    let times = if deliveries == 1 { "once".to_owned() } else { format!("{deliveries} times") };
    let message = format!(
        "delivered {times} (MAX_DELIVERIES), and each time its worker died, hung or lost the broker before it finished"
    );
    ErrorBody::new(codes::POISON, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pipeline::{
        contract::{HeaderValue, Properties, headers},
        topology::RetryDelays,
    };

    use super::*;

    const AT: SystemTime = SystemTime::UNIX_EPOCH;

    fn decided(redelivered: bool, headers: &[(&str, HeaderValue)]) -> Admission {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let properties = Properties { headers: headers.collect(), ..Properties::default() };
        let request = IncomingRequest {
            routing_key: "request",
            properties: &properties,
            body: b"",
            redelivered,
        };
        let retry_delays = RetryDelays::new([1, 60].map(Duration::from_secs).to_vec()).unwrap();
        let policy = Policy { max_attempts: 5, max_deliveries: 5, retry_delays, result_limit: 10 };
        admit(request, &policy, AT)
    }

    fn delivered(before: i64) -> Admission {
        decided(before > 0, &[(headers::DELIVERY_COUNT, before.into())])
    }

    #[test]
    fn the_third_delivery_is_isolated_and_one_beyond_the_limit_is_poison() {
        let isolated = |before| match delivered(before) {
            Admission::Accept { isolated } => isolated,
            other => panic!("{before}: {other:?}"),
        };
        assert_eq!([0, 1, 2, 4].map(isolated), [false, false, true, true]);
        let Admission::Reject(error) = delivered(5) else { panic!("accepted") };
        assert_eq!(error.code, codes::POISON);
        assert!(error.message.contains("delivered 5 times"), "{}", error.message);
    }

    #[test]
    fn an_uncounted_redelivery_is_counted_by_republishing() {
        let Admission::Republish(counted) = decided(true, &[(headers::DELIVERIES, 4.into())])
        else {
            panic!("accepted")
        };
        assert_eq!(counted.properties.headers.number(headers::DELIVERIES), Some(5));
    }

    #[test]
    fn an_early_request_waits_in_the_queue_with_the_shortest_sufficient_delay() {
        for (left, exchange) in [(1, "1000"), (2, "60000"), (3600, "60000")] {
            let not_before = headers::moment(AT + Duration::from_secs(left));
            let early = decided(false, &[(headers::NOT_BEFORE, not_before.into())]);
            let Admission::Republish(off) = early else { panic!("{left}: {early:?}") };
            assert_eq!(off.exchange, format!("processing.retry.{exchange}"));
        }
        let now = decided(false, &[(headers::NOT_BEFORE, headers::moment(AT).into())]);
        assert!(matches!(now, Admission::Accept { .. }));
    }

    #[test]
    fn an_expired_request_is_rejected() {
        let late = decided(true, &[(headers::EXPIRES_AT, headers::moment(AT).into())]);
        let Admission::Reject(error) = late else { panic!("{late:?}") };
        assert_eq!(error.code, codes::EXPIRED);
    }
}
