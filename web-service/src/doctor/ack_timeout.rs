//! Whether the broker leaves a request to its worker for as long as the work may take.

use std::time::Duration;

use humantime::format_duration;
use pipeline::topology::{AckTimeoutSetBy, QueueType};

use crate::doctor::diagnosis::{Check, Verdict};

/// How to see the timeout that holds for all queues which have none of their own.
const SEE: &str = "rabbitmqctl environment | grep consumer_timeout";
const HOLD: &str = "JOB_TIMEOUT x PREFETCH + DRAIN_TIMEOUT + 2m";

/// How the queues of requests were declared, as far as it can be seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestQueues {
    pub(super) kind: QueueType,
    /// The timeout of their own.
    pub(super) ack_timeout: Option<Duration>,
}

/// Compares the time after which the broker of this release takes a request back with the longest time for which a worker may
/// hold one. It is seen only where the argument of the queue decides; a broker of an unknown release may go by it, too.
pub(super) fn check(
    queues: RequestQueues,
    longest_hold: Option<Duration>,
    release: Option<&str>,
) -> Check {
    let set_by = release.and_then(|release| AckTimeoutSetBy::of(queues.kind, release));
    let verdict = match (set_by, queues.ack_timeout) {
        (Some(AckTimeoutSetBy::Nothing), _) => {
            Verdict::Fine("the broker takes no request back from a classic queue".to_owned())
        }
        (Some(AckTimeoutSetBy::Queue) | None, Some(timeout)) => compare(timeout, longest_hold),
        (Some(AckTimeoutSetBy::Queue | AckTimeoutSetBy::Broker) | None, _) => {
            unseen(queues.kind, longest_hold)
        }
    };
    Check::new("ack-timeout", verdict)
}

fn compare(timeout: Duration, longest_hold: Option<Duration>) -> Verdict {
    let shown = format_duration(timeout);
    match longest_hold {
        Some(longest) if longest > timeout => Verdict::finding(
            format!(
                "The broker takes a request back after {shown}, and a worker may hold it for {} ({HOLD})",
                format_duration(longest)
            ),
            "a lower JOB_TIMEOUT; or a higher ACK_TIMEOUT: once processing.requests is empty, stop all web services and \
             processors, delete the queue, run setup",
        ),
        Some(_) => Verdict::Fine(format!("the broker takes a request back after {shown}")),
        None => Verdict::unseen(
            format!("Whether the JOB_TIMEOUT of the processors fits into {shown}"),
            "processor-service --help; or set JOB_TIMEOUT for the web service, too",
        ),
    }
}

fn unseen(kind: QueueType, longest_hold: Option<Duration>) -> Verdict {
    let kind = kind.name();
    let hold = longest_hold.map_or_else(
        || HOLD.to_owned(),
        |longest| format!("{} ({HOLD})", format_duration(longest)),
    );
    let detail = format!(
        "After which time this broker takes a request back from a {kind} queue; a worker may hold it for {hold}"
    );
    Verdict::unseen(detail, SEE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(minutes: u64) -> Option<Duration> {
        Some(Duration::from_secs(60 * minutes))
    }

    fn found(
        kind: QueueType,
        ack_timeout: Option<Duration>,
        longest: Option<Duration>,
        release: Option<&str>,
    ) -> &'static str {
        match check(RequestQueues { kind, ack_timeout }, longest, release).verdict {
            Verdict::Fine(_) => "fine",
            Verdict::Finding { .. } => "finding",
            Verdict::Unseen { .. } => "unseen",
        }
    }

    #[test]
    fn work_that_may_take_longer_than_the_timeout_of_the_queue_is_found() {
        let of = |queue, longest, release| found(QueueType::Quorum, queue, longest, release);
        for release in [Some("3.11.15"), Some("4.0.5"), None] {
            assert_eq!(of(minutes(30), minutes(29), release), "fine");
            assert_eq!(of(minutes(30), minutes(31), release), "finding");
            assert_eq!(of(minutes(60), minutes(31), release), "fine");
            assert_eq!(of(minutes(30), None, release), "unseen");
            assert_eq!(of(None, minutes(31), release), "unseen", "the queue has none");
        }
    }

    #[test]
    fn nothing_is_found_where_only_the_configuration_of_the_broker_sets_the_timeout() {
        for longest in [minutes(29), minutes(90), None] {
            for queue in [minutes(30), minutes(60)] {
                for release in [Some("3.10.8"), Some("3.11.14")] {
                    assert_eq!(found(QueueType::Quorum, queue, longest, release), "unseen");
                }
            }
            for release in [Some("3.10.8"), Some("4.2.1"), None] {
                assert_eq!(found(QueueType::Classic, None, longest, release), "unseen");
            }
        }
        let classic = RequestQueues { kind: QueueType::Classic, ack_timeout: None };
        let Verdict::Unseen { detail, see } = check(classic, minutes(62), Some("4.0.5")).verdict
        else {
            panic!("it is not seen")
        };
        assert!(detail.contains("a classic queue; a worker may hold it for 1h 2m"), "{detail}");
        assert!(see.contains("consumer_timeout"), "{see}");
    }

    #[test]
    fn classic_queues_have_no_timeout_from_4_3_on() {
        for longest in [minutes(90), None] {
            assert_eq!(found(QueueType::Classic, None, longest, Some("4.3.0")), "fine");
        }
    }
}
