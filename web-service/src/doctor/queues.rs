//! What the queues hold, who consumes them, and how long a worker may hold a request.

use std::time::Duration;

use pipeline::{
    broker::Declarer,
    health::QueueCounts,
    topology::{DEFAULT_ACK_TIMEOUT, FAILED, RESULTS, RequestType, RequestTypes, UNREADABLE},
};

use crate::doctor::diagnosis::{Check, Verdict};

/// The first release that has an acknowledgement timeout for a queue.
const HAS_ACK_TIMEOUT: (u64, u64) = (3, 12);

/// Counts the messages and consumers of each queue. One that is missing is found elsewhere.
pub(super) async fn check(declarer: &mut Declarer, types: &RequestTypes) -> Vec<Check> {
    let mut checks = Vec::new();
    let of_requests = types.iter().map(|it| ("workers", it.queue()));
    let others = [("results-queue", RESULTS), ("failed-queue", FAILED), ("unreadable", UNREADABLE)];
    let others = others.map(|(code, queue)| (code, queue.to_owned()));
    for (code, queue) in of_requests.chain(others) {
        match declarer.queue_counts(&queue).await {
            Ok(counts) => checks.push(Check::new(code, verdict(&queue, counts))),
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                let detail = format!("How many messages and consumers {queue} has: {error}");
                checks.push(Check::new(code, Verdict::unseen(detail, "rabbitmqctl list_queues")));
            }
        }
    }
    checks
}

fn verdict(queue: &str, QueueCounts { waiting, consumers }: QueueCounts) -> Verdict {
    let seen = format!("{queue} has {consumers} consumers, and {waiting} messages wait");
    if let (Some(of_type), 0) = (RequestType::of_queue(queue), consumers) {
        return no_worker(&of_type, waiting);
    }
    match (queue, waiting, consumers) {
        (RESULTS | FAILED, _, 0) => Verdict::finding(
            format!("No web service consumes {queue}, and {waiting} messages wait"),
            "restart the web service, and see its log",
        ),
        (UNREADABLE, 1.., _) => Verdict::finding(
            format!("{waiting} messages in {queue} could be received by no program"),
            format!(
                "look at them on RabbitMQ's management page, then: rabbitmqctl purge_queue --vhost VHOST {queue}"
            ),
        ),
        _ => Verdict::Fine(seen),
    }
}

fn no_worker(of_type: &RequestType, waiting: u32) -> Verdict {
    let (of_type, with) = match of_type.is_default() {
        true => (String::new(), String::new()),
        false => (format!(" of the type {of_type}"), format!(" with TYPES={of_type}")),
    };
    Verdict::finding(
        format!("No worker consumes requests{of_type}, and {waiting} wait"),
        format!("start processor-service{with}"),
    )
}

/// Whether a worker may hold a request as long as its work may take. `of_queue` is the timeout that the queue of requests has of
/// its own.
pub(super) fn ack_timeout(
    of_queue: Option<Duration>,
    longest_hold: Option<Duration>,
    release: Option<&str>,
) -> Check {
    const SEE: &str = "rabbitmqctl environment | grep consumer_timeout";
    let is_ignored = release.and_then(numbers).is_some_and(|release| release < HAS_ACK_TIMEOUT);
    let timeout = of_queue.unwrap_or(DEFAULT_ACK_TIMEOUT);
    let (shown, millis) = (humantime::format_duration(timeout), timeout.as_millis());
    let verdict = match longest_hold {
        Some(longest) if longest > timeout => Verdict::finding(
            format!(
                "The broker takes a request back after {shown}, and a worker may hold it for {} (JOB_TIMEOUT x PREFETCH + \
                 DRAIN_TIMEOUT + 2m)",
                humantime::format_duration(longest)
            ),
            "a lower JOB_TIMEOUT; or a higher ACK_TIMEOUT, delete processing.requests when it is empty, setup",
        ),
        _ if is_ignored && timeout != DEFAULT_ACK_TIMEOUT => Verdict::finding(
            format!(
                "This release of RabbitMQ ignores the ACK_TIMEOUT of {shown} that the queue was declared with"
            ),
            format!("consumer_timeout = {millis} in rabbitmq.conf"),
        ),
        Some(_) if of_queue.is_some() && !is_ignored => {
            Verdict::Fine(format!("the broker takes a request back after {shown}"))
        }
        Some(_) => Verdict::unseen("After which time the broker takes a request back", SEE),
        None => Verdict::unseen(
            format!("Whether the JOB_TIMEOUT of the processors fits into {shown}"),
            "processor-service --help; or set JOB_TIMEOUT for the web service, too",
        ),
    };
    Check::new("ack-timeout", verdict)
}

/// The first two numbers of a release.
fn numbers(release: &str) -> Option<(u64, u64)> {
    let mut numbers = release.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Fine(_) => "fine",
            Verdict::Finding { .. } => "finding",
            Verdict::Unseen { .. } => "unseen",
        }
    }

    #[test]
    fn queues_without_consumers_and_messages_that_nobody_can_read_are_found() {
        let of =
            |queue, waiting, consumers| found(&verdict(queue, QueueCounts { waiting, consumers }));
        for queue in ["processing.requests", "processing.requests.video", RESULTS, FAILED] {
            assert_eq!([of(queue, 0, 0), of(queue, 5, 1)], ["finding", "fine"], "{queue}");
        }
        assert_eq!([of(UNREADABLE, 0, 0), of(UNREADABLE, 1, 0)], ["fine", "finding"]);
    }

    #[test]
    fn work_that_may_take_longer_than_the_broker_waits_is_found() {
        let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
        let of =
            |queue, longest, release| found(&ack_timeout(queue, longest, Some(release)).verdict);
        assert_eq!(of(minutes(30), minutes(29), "4.0.5"), "fine");
        assert_eq!(of(minutes(30), minutes(29), "3.10.8"), "unseen", "it is ignored");
        for release in ["3.10.8", "4.0.5"] {
            assert_eq!(of(minutes(30), minutes(31), release), "finding");
            assert_eq!(of(minutes(30), None, release), "unseen");
            assert_eq!(of(None, minutes(29), release), "unseen", "a classic queue");
        }
        assert_eq!(of(minutes(60), minutes(31), "4.0.5"), "fine");
        assert_eq!(of(minutes(60), minutes(31), "3.10.8"), "finding", "it is ignored");
        assert_eq!(found(&ack_timeout(None, None, None).verdict), "unseen");
    }
}
