//! What `setup` can't do over AMQP, and says instead.

use std::time::Duration;

use pipeline::topology::{DEFAULT_ACK_TIMEOUT, QueueType};

/// From this release on, an argument of the queue sets the acknowledgement timeout.
const HEEDS_THE_ARGUMENT: [u32; 3] = [3, 11, 15];
/// From this release on, classic queues have no acknowledgement timeout.
const CLASSIC_WITHOUT: [u32; 3] = [4, 3, 0];

/// What to set in the broker, where that is the only way to have this `ACK_TIMEOUT`. `version` is the
/// broker's; of one that is not known nothing is said.
pub(crate) fn ack_timeout(
    version: Option<&str>,
    kind: QueueType,
    wanted: Duration,
) -> Option<String> {
    let text = version?;
    let version = numbers(text)?;
    let set_otherwise = match kind {
        QueueType::Quorum => version >= HEEDS_THE_ARGUMENT,
        QueueType::Classic => version >= CLASSIC_WITHOUT,
    };
    if set_otherwise || wanted == DEFAULT_ACK_TIMEOUT {
        return None;
    }
    let (kind, millis) = (kind.name(), wanted.as_millis());
    Some(format!(
        "RabbitMQ {text} has one acknowledgement timeout for all {kind} queues, of 30m unless set otherwise. \
         For ACK_TIMEOUT put this into rabbitmq.conf and start the broker again:\n  consumer_timeout = {millis}"
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
    fn only_where_the_queue_cannot_say_it_the_broker_has_to() {
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
    fn nothing_is_said_of_the_default_or_of_a_broker_that_is_not_known() {
        assert_eq!(ack_timeout(Some("3.10.8"), QueueType::Quorum, DEFAULT_ACK_TIMEOUT), None);
        assert_eq!(ack_timeout(None, QueueType::Classic, HOUR), None);
    }
}
