//! Acknowledgement timeout: what sets it, by the release of RabbitMQ and the type of the queue.

use std::time::Duration;

use crate::topology::objects::QueueType;

/// The `ACK_TIMEOUT` that services declare a missing queue with: the broker's own default.
pub const DEFAULT_ACK_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// From this release on, an argument of a quorum queue sets its timeout.
const QUORUM_ARGUMENT_SINCE: [u32; 3] = [3, 11, 15];
/// From this release on, classic queues have no timeout.
const CLASSIC_WITHOUT_SINCE: [u32; 3] = [4, 3, 0];
/// Since then a consumer is cancelled when its timeout is over.
const CANCELS_SINCE: [u32; 3] = [4, 3, 0];

/// What sets the time after which the broker takes a message back that was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckTimeoutSetBy {
    /// The argument of the queue.
    Queue,
    /// `consumer_timeout` in the broker's configuration, which AMQP does not show.
    Broker,
    /// Nothing: the queue has no such timeout.
    Nothing,
}

impl AckTimeoutSetBy {
    /// What sets it for queues of this type in this release, as in `3.10.8`. None if the release can't be read.
    pub fn of(kind: QueueType, release: &str) -> Option<Self> {
        let release = numbers(release)?;
        Some(match kind {
            QueueType::Quorum if release >= QUORUM_ARGUMENT_SINCE => Self::Queue,
            QueueType::Classic if release >= CLASSIC_WITHOUT_SINCE => Self::Nothing,
            QueueType::Quorum | QueueType::Classic => Self::Broker,
        })
    }
}

/// Whether this release cancels a consumer when its acknowledgement timeout is over; older ones close the channel. None if
/// the release can't be read.
pub(crate) fn ack_timeout_cancels(release: &str) -> Option<bool> {
    Some(numbers(release)? >= CANCELS_SINCE)
}

fn numbers(release: &str) -> Option<[u32; 3]> {
    let mut parts = release.split(['.', '-', '+']).map(|part| part.parse().ok());
    Some([parts.next()??, parts.next()??, parts.next().flatten().unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_before_4_3_cancel_no_consumer_at_the_timeout() {
        let releases = ["3.10.8", "4.2.9", "4.3.0", "5.0.0-rc.1", "mystery", ""];
        let expected = [Some(false), Some(false), Some(true), Some(true), None, None];
        assert_eq!(releases.map(ack_timeout_cancels), expected);
    }

    #[test]
    fn what_sets_the_timeout_depends_on_the_release_and_the_type_of_the_queue() {
        let (quorum, classic) = (QueueType::Quorum, QueueType::Classic);
        for (release, kind, expected) in [
            ("3.10.8", quorum, Some(AckTimeoutSetBy::Broker)),
            ("3.11.14", quorum, Some(AckTimeoutSetBy::Broker)),
            ("3.11.15", quorum, Some(AckTimeoutSetBy::Queue)),
            ("4.3.0", quorum, Some(AckTimeoutSetBy::Queue)),
            ("4.2.9", classic, Some(AckTimeoutSetBy::Broker)),
            ("4.3.6-rc.1", classic, Some(AckTimeoutSetBy::Nothing)),
            ("mystery", quorum, None),
        ] {
            assert_eq!(AckTimeoutSetBy::of(kind, release), expected, "{release} {kind:?}");
        }
    }
}
