//! Admission: whether a delivered request is processed, republished or rejected, by what is known of the deliveries
//! before.
//!
//! `MAX_DELIVERIES` counts deaths and hangs of workers. A redelivery alone does not tell one from a lost connection or
//! a crash of the broker: the dead never come back, and the living can say that they had the request. So from the second
//! redelivery on, and before a request is given up, all processes are asked.

use std::time::{Duration, SystemTime};

use pipeline::contract::{ErrorBody, Message, codes, headers};

use crate::decisions::{incoming::IncomingRequest, policy::Policy};

/// From so many suspected deaths on, a request runs isolated in its process: it may be what ended the earlier ones.
const ISOLATED_FROM: i64 = 2;
/// From so many suspected deaths on, the other processes are asked.
const ASKED_FROM: i64 = 2;
/// How long a request waits with the broker before the processes are asked for the last time: a process that lost its
/// connection notices that after two heartbeats at the latest (20 s), and connects again within seconds.
const LAST_WAIT: Duration = Duration::from_secs(30);
/// How often a request waits again because no answer could be heard, as while the broker blocks publishers. A process that
/// never hears anything ends the request all the same.
const MAX_UNHEARD: i64 = 5;

/// What to do with a delivered request.
#[derive(Debug)]
pub(crate) enum Admission {
    /// Process it.
    Accept {
        /// Whether no other request may run in this process meanwhile.
        isolated: bool,
    },
    /// Publish this message in its place: it is too early, or the deliveries before must be counted.
    Republish(Box<Message>),
    /// Ask the other processes first how often they had it; then [`after_answers`].
    Ask {
        /// How many deliveries they must claim for the question to be settled at once.
        needed: i64,
    },
    /// End it with this error.
    Reject(ErrorBody),
}

/// What the processes have answered to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claimed {
    /// How many deliveries of the request they have survived.
    pub(crate) deliveries: i64,
    /// Whether answers could be heard at all. If not, silence means nothing.
    pub(crate) was_heard: bool,
}

/// Decides about a delivered request. `broker_start` is the id of the broker's present start, if it is known; only
/// redeliveries from classic queues need it.
pub(crate) fn admit(
    request: IncomingRequest<'_>,
    policy: &Policy,
    broker_start: Option<&str>,
    now: SystemTime,
) -> Admission {
    if let Some(at) = request.expired_at(now) {
        return Admission::Reject(ErrorBody::new(codes::EXPIRED, format!("not started by {at}")));
    }
    if may_never_have_been_delivered(request, policy, broker_start) {
        return republish(request.uncounted_copy(now), broker_start);
    }
    if request.may_be_second_redelivery() && policy.max_deliveries == 2 {
        // It is not: with this limit the first one is counted too.
        return republish(request.first_redelivery_copy(now), broker_start);
    }
    if let Some(left) = request.time_until_not_before(now) {
        let delay = policy.retry_delays.reaching(left);
        return republish(request.postponed_copy(left, delay, now), broker_start);
    }
    let deaths = request.suspected_deaths();
    let is_last = deaths >= policy.max_deliveries;
    // A copy is not asked about again: that was done before it was published.
    if is_last || (request.redelivered && deaths >= ASKED_FROM) {
        return Admission::Ask { needed: request.answers_needed() };
    }
    let begins_at_once = policy.max_deliveries > 2 && request.is_first_redelivery();
    if request.redelivered && !begins_at_once {
        return republish(request.counted_copy(now), broker_start);
    }
    Admission::Accept { isolated: deaths >= ISOLATED_FROM }
}

/// Decides about a request once the other processes have claimed so many of its deliveries.
pub(crate) fn after_answers(
    request: IncomingRequest<'_>,
    policy: &Policy,
    claimed: Claimed,
    broker_start: Option<&str>,
    now: SystemTime,
) -> Admission {
    let deaths = request.suspected_deaths();
    let is_last = deaths >= policy.max_deliveries;
    let Claimed { deliveries: claimed, was_heard } = claimed;
    let delay = policy.retry_delays.reaching(LAST_WAIT);
    let copy = if claimed >= request.answers_needed() {
        request.survived_copy(deaths, now)
    } else if !is_last {
        // Who has not answered yet may do so at the next question.
        request.counted_copy(now)
    } else if claimed > 0 {
        request.survived_copy(claimed, now)
    } else if !request.has_waited() {
        request.last_wait_copy(LAST_WAIT, delay, now)
    } else if !was_heard && request.times_unheard() < MAX_UNHEARD {
        request.unheard_copy(LAST_WAIT, delay, now)
    } else {
        return Admission::Reject(poison(deaths));
    };
    republish(copy, broker_start)
}

/// Whether a delivery is claimed before it is looked at, since it has to wait for that: it would begin, or be published
/// again under the number that it has. One that comes again under the same number is not, and none that is asked about.
pub(crate) fn is_claimed_at_once(
    request: IncomingRequest<'_>,
    policy: &Policy,
    now: SystemTime,
) -> bool {
    match admit(request, policy, None, now) {
        Admission::Accept { .. } => true,
        Admission::Republish(_) => !request.redelivered,
        Admission::Ask { .. } | Admission::Reject(_) => false,
    }
}

/// Whether the request comes from a queue that was recovered after a crash of the broker, as far as is known: such a
/// queue delivers all its messages as redelivered. A first redelivery is not believed either where it would be the last.
fn may_never_have_been_delivered(
    request: IncomingRequest<'_>,
    policy: &Policy,
    broker_start: Option<&str>,
) -> bool {
    let is_last = request.suspected_deaths() >= policy.max_deliveries;
    let is_new = broker_start.is_some() && !request.names_broker_start() && is_last;
    request.is_uncounted_redelivery() && (request.is_from_another_start(broker_start) || is_new)
}

fn republish(mut copy: Message, broker_start: Option<&str>) -> Admission {
    if let Some(start) = broker_start {
        copy.properties.headers.set(headers::BROKER_START, start);
    }
    Admission::Republish(copy.into())
}

fn poison(deaths: i64) -> ErrorBody {
    let times = if deaths == 1 { "once".to_owned() } else { format!("{deaths} times") };
    let message = format!(
        "delivered {times} (MAX_DELIVERIES), and each time its worker died or hung before it finished"
    );
    ErrorBody::new(codes::POISON, message)
}

#[cfg(test)]
mod tests {
    use pipeline::{
        contract::{HeaderValue, Properties},
        topology::RetryDelays,
    };

    use super::*;
    use crate::decisions::samples::AT;

    fn policy(max_deliveries: i64) -> Policy {
        let retry_delays = RetryDelays::new([1, 60].map(Duration::from_secs).to_vec()).unwrap();
        Policy { max_attempts: 5, max_deliveries, retry_delays, result_limit: 10 }
    }

    /// Decides about a request with these headers.
    fn with<T>(
        redelivered: bool,
        headers: &[(&str, HeaderValue)],
        decide: impl FnOnce(IncomingRequest<'_>) -> T,
    ) -> T {
        let headers = headers.iter().map(|(name, value)| (*name, value.clone()));
        let properties = Properties { headers: headers.collect(), ..Properties::default() };
        let (routing_key, properties) = ("request", &properties);
        decide(IncomingRequest { routing_key, properties, body: b"", redelivered })
    }

    fn decided(redelivered: bool, headers: &[(&str, HeaderValue)]) -> Admission {
        with(redelivered, headers, |request| admit(request, &policy(5), Some("now"), AT))
    }

    fn answered(deliveries: i64, claimed: i64) -> Admission {
        let headers = [(headers::DELIVERIES, deliveries.into())];
        with(true, &headers, |request| after_answers(request, &policy(5), heard(claimed), None, AT))
    }

    fn heard(deliveries: i64) -> Claimed {
        Claimed { deliveries, was_heard: true }
    }

    fn counts(admission: Admission) -> (Option<i64>, Option<i64>) {
        let Admission::Republish(copy) = admission else { panic!("{admission:?}") };
        let number = |name| copy.properties.headers.number(name);
        (number(headers::DELIVERIES), number(headers::SURVIVED))
    }

    #[test]
    fn a_first_redelivery_begins_at_once_and_keeps_its_place_in_the_queue() {
        for counted in [headers::DELIVERY_COUNT, headers::ACQUIRED_COUNT] {
            let first = decided(true, &[(counted, 1.into())]);
            assert!(matches!(first, Admission::Accept { isolated: false }), "{first:?}");
        }
    }

    #[test]
    fn further_redeliveries_are_counted_by_republishing_once_the_living_were_asked() {
        assert_eq!(counts(decided(true, &[])), (Some(1), None), "classic queues do not count");
        for headers in [(headers::DELIVERY_COUNT, 2), (headers::DELIVERIES, 1)] {
            let asked = decided(true, &[(headers.0, headers.1.into())]);
            assert!(matches!(asked, Admission::Ask { .. }), "{headers:?}: {asked:?}");
        }
        assert_eq!(counts(answered(1, 0)), (Some(2), None));
        assert_eq!(counts(answered(1, 1)), (Some(2), None), "the rest may answer later");
        assert_eq!(counts(answered(1, 2)), (Some(2), Some(2)));
    }

    #[test]
    fn a_suspect_is_isolated_and_not_asked_about_again_before_it_begins() {
        for (deliveries, isolated) in [(1, false), (2, true), (4, true)] {
            let fresh = decided(false, &[(headers::DELIVERIES, deliveries.into())]);
            assert!(matches!(fresh, Admission::Accept { isolated: is } if is == isolated));
        }
    }

    #[test]
    fn what_waits_is_claimed_unless_all_are_asked_about_it() {
        let claimed = |redelivered, name, count: i64| {
            let headers = [(name, count.into())];
            with(redelivered, &headers, |request| is_claimed_at_once(request, &policy(5), AT))
        };
        assert!(claimed(false, headers::DELIVERIES, 0), "a first delivery");
        assert!(claimed(true, headers::DELIVERY_COUNT, 1), "a first redelivery begins");
        assert!(claimed(false, headers::DELIVERIES, 4), "a copy of a suspect");
        assert!(
            !claimed(false, headers::DELIVERIES, 5),
            "or this process would answer for a dead one"
        );
        assert!(!claimed(true, headers::DELIVERIES, 2), "it comes again under the same number");
    }

    #[test]
    fn a_request_is_given_up_only_if_nobody_alive_had_it_also_after_a_wait() {
        assert!(matches!(
            decided(false, &[(headers::DELIVERIES, 5.into())]),
            Admission::Ask { .. }
        ));
        assert_eq!(counts(answered(4, 1)), (Some(5), Some(1)));
        let Admission::Republish(waiting) = answered(4, 0) else { panic!("no wait") };
        assert_eq!(waiting.exchange, "processing.retry.60000");
        let back = |redelivered| {
            let (routing_key, properties) = ("request", &waiting.properties);
            let request = IncomingRequest { routing_key, properties, body: b"", redelivered };
            let admission = admit(request, &policy(5), None, AT + LAST_WAIT);
            let Admission::Ask { .. } = admission else { return admission };
            after_answers(request, &policy(5), heard(0), None, AT + LAST_WAIT)
        };
        let Admission::Reject(error) = back(false) else { panic!("accepted") };
        assert_eq!(error.code, codes::POISON);
        assert!(error.message.contains("delivered 5 times"), "{}", error.message);
        assert_eq!(counts(back(true)), (Some(6), None), "somebody had it since");
    }

    #[test]
    fn silence_is_no_answer_where_none_could_be_heard() {
        let unheard = Claimed { deliveries: 0, was_heard: false };
        let asked = |properties: &Properties| {
            let routing_key = "request";
            let request =
                IncomingRequest { routing_key, properties, body: b"", redelivered: false };
            after_answers(request, &policy(5), unheard, None, AT)
        };
        let deliveries = [(headers::DELIVERIES, HeaderValue::from(5))];
        let mut latest =
            Properties { headers: deliveries.into_iter().collect(), ..Properties::default() };
        for wait in 0..=MAX_UNHEARD {
            let Admission::Republish(copy) = asked(&latest) else { panic!("given up at {wait}") };
            assert_eq!(copy.exchange, "processing.retry.60000");
            assert_eq!(copy.properties.headers.number(headers::UNHEARD).unwrap_or(0), wait);
            latest = copy.properties;
        }
        let Admission::Reject(error) = asked(&latest) else { panic!("it waits for ever") };
        assert_eq!(error.code, codes::POISON);
    }

    #[test]
    fn a_small_limit_is_exact() {
        let decided = |limit, deliveries: i64, count: i64| {
            let headers =
                [(headers::DELIVERIES, deliveries.into()), (headers::DELIVERY_COUNT, count.into())];
            with(true, &headers, |request| admit(request, &policy(limit), None, AT))
        };
        for count in [1, 61] {
            assert_eq!(counts(decided(2, 0, count)), (Some(1), None), "one death: {count}");
            assert!(matches!(decided(1, 0, count), Admission::Ask { .. }));
        }
        assert!(matches!(decided(2, 1, 1), Admission::Ask { .. }));
        let classic =
            |start: Option<&str>| with(true, &[], |request| admit(request, &policy(1), start, AT));
        assert_eq!(counts(classic(Some("now"))), (Some(0), None), "it may be new");
        assert!(matches!(classic(None), Admission::Ask { .. }));
    }

    #[test]
    fn a_classic_queue_that_was_recovered_charges_no_delivery() {
        let published_in = |start: &str| {
            decided(true, &[(headers::BROKER_START, start.into()), (headers::DELIVERIES, 1.into())])
        };
        assert_eq!(counts(published_in("before")), (Some(1), None));
        assert!(matches!(published_in("now"), Admission::Ask { .. }));
        let Admission::Republish(copy) = published_in("before") else { panic!() };
        assert_eq!(copy.properties.headers.text(headers::BROKER_START), Some("now"));
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
        let late = decided(false, &[(headers::EXPIRES_AT, headers::moment(AT).into())]);
        let Admission::Reject(error) = late else { panic!("{late:?}") };
        assert_eq!(error.code, codes::EXPIRED);
    }
}
