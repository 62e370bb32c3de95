//! Advice for settings that `setup` can't declare over AMQP: the acknowledgement timeout.

use std::time::Duration;

use pipeline::topology::{DEFAULT_ACK_TIMEOUT, QueueType};

/// From this release on, an argument of a quorum queue sets its acknowledgement timeout.
const QUORUM_TIMEOUT_ARGUMENT_SINCE: [u32; 3] = [3, 11, 15];
/// From this release on, classic queues have no acknowledgement timeout.
const CLASSIC_NO_TIMEOUT_SINCE: [u32; 3] = [4, 3, 0];

/// What to configure in the broker, if only its configuration can set this `ACK_TIMEOUT`. `version` is
/// the broker's release; `None` without one.
pub(crate) fn ack_timeout(
    version: Option<&str>,
    kind: QueueType,
    wanted: Duration,
) -> Option<String> {
    let text = version?;
    let version = numbers(text)?;
    let set_otherwise = match kind {
        QueueType::Quorum => version >= QUORUM_TIMEOUT_ARGUMENT_SINCE,
        QueueType::Classic => version >= CLASSIC_NO_TIMEOUT_SINCE,
    };
    if set_otherwise || wanted == DEFAULT_ACK_TIMEOUT {
        return None;
    }
    let (kind, millis) = (kind.name(), wanted.as_millis());
    Some(format!(
        "RabbitMQ {text} has one acknowledgement timeout for all {kind} queues, of 30m unless set otherwise. \
         For ACK_TIMEOUT put this into rabbitmq.conf and restart the broker:\n  consumer_timeout = {millis}"
    ))
}

fn numbers(version: &str) -> Option<[u32; 3]> {
    let mut parts = version.split(['.', '-', '+']).map(|part| part.parse().ok());
    Some([parts.next()??, parts.next()??, parts.next().flatten().unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn advice_is_given_where_no_queue_argument_sets_the_timeout() {
        let cases = [
            ("3.10.8", QueueType::Quorum, true),
            ("3.11.14", QueueType::Quorum, true),
            ("3.11.15", QueueType::Quorum, false),
            ("4.0.5", QueueType::Quorum, false),
            ("4.0.5", QueueType::Classic, true),
            ("4.3.6-rc.1", QueueType::Classic, false),
            ("mystery", QueueType::Quorum, false),
        ];
        for (version, kind, expected) in cases {
            let advice = ack_timeout(Some(version), kind, HOUR);
            assert_eq!(advice.is_some(), expected, "{version} {kind:?}: {advice:?}");
        }
        let advice = ack_timeout(Some("3.10.8"), QueueType::Quorum, HOUR).unwrap();
        assert!(advice.ends_with("consumer_timeout = 3600000"), "{advice}");
    }

    #[test]
    fn no_advice_for_the_default_or_an_unknown_broker() {
        assert_eq!(ack_timeout(Some("3.10.8"), QueueType::Quorum, DEFAULT_ACK_TIMEOUT), None);
        assert_eq!(ack_timeout(None, QueueType::Classic, HOUR), None);
    }
}
