//! Advice for settings that `setup` can't declare over AMQP: the acknowledgement timeout.

use std::time::Duration;

use pipeline::topology::{AckTimeoutSetBy, DEFAULT_ACK_TIMEOUT, QueueType};

/// What to configure in the broker, if only its configuration can set this `ACK_TIMEOUT`. `version` is
/// the broker's release; `None` without one.
pub(crate) fn ack_timeout(
    version: Option<&str>,
    kind: QueueType,
    wanted: Duration,
) -> Option<String> {
    let version = version?;
    let is_of_broker = AckTimeoutSetBy::of(kind, version) == Some(AckTimeoutSetBy::Broker);
    if !is_of_broker || wanted == DEFAULT_ACK_TIMEOUT {
        return None;
    }
    let (kind, millis) = (kind.name(), wanted.as_millis());
    Some(format!(
        "RabbitMQ {version} has one acknowledgement timeout for all {kind} queues, of 30m unless set otherwise. \
         For ACK_TIMEOUT put this into rabbitmq.conf and restart the broker:\n  consumer_timeout = {millis}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn advice_is_given_where_no_queue_argument_sets_the_timeout() {
        let of = |version, kind| ack_timeout(Some(version), kind, HOUR);
        let advice = of("3.10.8", QueueType::Quorum).unwrap();
        assert!(advice.ends_with("consumer_timeout = 3600000"), "{advice}");
        assert!(of("4.0.5", QueueType::Classic).is_some());
        assert_eq!(of("4.0.5", QueueType::Quorum), None);
        assert_eq!(of("4.3.0", QueueType::Classic), None);
    }

    #[test]
    fn no_advice_for_the_default_or_an_unknown_broker() {
        assert_eq!(ack_timeout(Some("3.10.8"), QueueType::Quorum, DEFAULT_ACK_TIMEOUT), None);
        assert_eq!(ack_timeout(None, QueueType::Classic, HOUR), None);
    }
}
