//! What the queues hold, and who consumes them.

use pipeline::{
    broker::Declarer,
    health::QueueCounts,
    topology::{FAILED, RESULTS, RequestType, RequestTypes, UNREADABLE},
};

use crate::doctor::diagnosis::{Check, Verdict};

/// Counts the messages and consumers of each queue. One that is missing is found elsewhere.
/// With `suspects` requests at work of which workers may have died, the workers of their processes do not consume.
pub(super) async fn check(
    declarer: &mut Declarer,
    types: &RequestTypes,
    suspects: usize,
) -> Vec<Check> {
    let mut checks = Vec::new();
    let of_requests = types.iter().map(|it| ("workers", it.queue()));
    let others = [("results-queue", RESULTS), ("failed-queue", FAILED), ("unreadable", UNREADABLE)];
    let others = others.map(|(code, queue)| (code, queue.to_owned()));
    for (code, queue) in of_requests.chain(others) {
        match declarer.queue_counts(&queue).await {
            Ok(counts) => checks.push(Check::new(code, verdict(&queue, counts, suspects))),
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                let detail = format!("How many messages and consumers {queue} has: {error}");
                checks.push(Check::new(code, Verdict::unseen(detail, "rabbitmqctl list_queues")));
            }
        }
    }
    checks
}

fn verdict(
    queue: &str,
    QueueCounts { waiting, consumers }: QueueCounts,
    suspects: usize,
) -> Verdict {
    let seen = format!("{queue} has {consumers} consumers, and {waiting} messages wait");
    if let (Some(of_type), 0) = (RequestType::of_queue(queue), consumers) {
        return no_worker(&of_type, waiting, suspects);
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

fn no_worker(of_type: &RequestType, waiting: u32, suspects: usize) -> Verdict {
    let (of_type, with) = match of_type.is_default() {
        true => (String::new(), String::new()),
        false => (format!(" of the type {of_type}"), format!(" with TYPES={of_type}")),
    };
    let seen = format!("No worker consumes requests{of_type}, and {waiting} wait");
    let start = format!("start processor-service{with}");
    if suspects == 0 {
        return Verdict::finding(seen, start);
    }
    Verdict::finding(
        format!("{seen}; requests at work that run alone in their process: {suspects} at most"),
        format!("wait until these have ended, if a processor runs for this type; else {start}"),
    )
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
        let of = |queue, waiting, consumers| {
            found(&verdict(queue, QueueCounts { waiting, consumers }, 0))
        };
        for queue in ["processing.requests", "processing.requests.video", RESULTS, FAILED] {
            assert_eq!([of(queue, 0, 0), of(queue, 5, 1)], ["finding", "fine"], "{queue}");
        }
        assert_eq!([of(UNREADABLE, 0, 0), of(UNREADABLE, 1, 0)], ["fine", "finding"]);
    }

    #[test]
    fn workers_that_pause_for_a_request_that_runs_alone_are_not_taken_for_missing_ones() {
        let none = QueueCounts { waiting: 5, consumers: 0 };
        let mend = |suspects| match verdict("processing.requests", none, suspects) {
            Verdict::Finding { mend, .. } => mend,
            _ => String::new(),
        };
        assert_eq!(mend(0), "start processor-service");
        assert!(mend(1).starts_with("wait until these have ended"), "{}", mend(1));
    }
}
