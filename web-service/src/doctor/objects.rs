//! Exchanges and queues: whether they exist with the arguments of this release.

use std::time::Duration;

use pipeline::{
    broker::{AskError, Declarer},
    topology::{
        DEFAULT_ACK_TIMEOUT, Exchange, Queue, QueueType, RequestTypes, RetryDelays, Topology,
        request_queue,
    },
};

use crate::doctor::{
    ack_timeout::RequestQueues,
    diagnosis::{Check, Verdict},
};

/// What exists.
pub(super) struct Objects {
    pub(super) checks: Vec<Check>,
    /// How the queues of requests were declared.
    pub(super) requests: RequestQueues,
}

/// Compares each exchange and queue by declaring it again, which changes nothing. `QUEUE_TYPE` and `ACK_TIMEOUT` are
/// settings of `setup` alone, so they are taken from the queue of requests.
pub(super) async fn check(
    declarer: &mut Declarer,
    types: &RequestTypes,
    delays: &RetryDelays,
) -> Objects {
    let (kind, ack_timeout) = settings_of_setup(declarer, types).await;
    let topology = Topology::new(kind, ack_timeout.unwrap_or(DEFAULT_ACK_TIMEOUT), types);
    let topology = topology.retrying(kind, delays);
    let mut checks = Vec::new();
    for exchange in &topology.exchanges {
        let found = declare_exchange(declarer, exchange).await;
        checks.extend(verdict("exchange", &exchange.name, found));
    }
    for queue in &topology.queues {
        let found = declare_queue(declarer, queue).await;
        checks.extend(verdict("queue", &queue.name, found));
    }
    if checks.is_empty() {
        let (exchanges, queues) = (topology.exchanges.len(), topology.queues.len());
        let kind = kind.name();
        let fine = format!("{exchanges} exchanges and {queues} {kind} queues are as expected");
        checks.push(Check::new("arguments", Verdict::Fine(fine)));
    }
    let ack_timeout = ack_timeout.filter(|_| kind == QueueType::Quorum);
    Objects { checks, requests: RequestQueues { kind, ack_timeout } }
}

/// The settings with which `setup` declared the queues of requests, as far as it can be seen: those of the first that
/// exists. A user without the right to declare a queue sees none.
async fn settings_of_setup(
    declarer: &mut Declarer,
    types: &RequestTypes,
) -> (QueueType, Option<Duration>) {
    let kinds = [QueueType::Quorum, QueueType::Classic];
    for (of_type, kind) in types.iter().flat_map(|of_type| kinds.map(|kind| (of_type, kind))) {
        let requests = request_queue(of_type, kind, DEFAULT_ACK_TIMEOUT);
        match declare_queue(declarer, &requests).await {
            Ok(false) => {}
            Ok(true) => return (kind, Some(DEFAULT_ACK_TIMEOUT)),
            Err(AskError::Refused { code: 406, text }) if text.contains("x-consumer-timeout") => {
                return (kind, current_millis(&text));
            }
            Err(AskError::Refused { code: 406, text }) if text.contains("x-queue-type") => {}
            _ => return (kind, None),
        }
    }
    (QueueType::Quorum, Some(DEFAULT_ACK_TIMEOUT))
}

/// The present value in the broker's explanation: `received '1800000' but current is '60000'`.
fn current_millis(text: &str) -> Option<Duration> {
    let (_, current) = text.split_once("current is ")?;
    let digits = current.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok().map(Duration::from_millis)
}

/// Whether it exists with these arguments. False if it is missing.
async fn declare_exchange(declarer: &mut Declarer, exchange: &Exchange) -> Result<bool, AskError> {
    match declarer.exchange_exists(exchange).await? {
        true => declarer.declare_exchange(exchange).await.map(|()| true),
        false => Ok(false),
    }
}

/// The same of a queue.
async fn declare_queue(declarer: &mut Declarer, queue: &Queue) -> Result<bool, AskError> {
    match declarer.queue_exists(queue).await? {
        true => declarer.declare_queue(queue).await.map(|()| true),
        false => Ok(false),
    }
}

/// What is wrong with an object, if anything is.
fn verdict(kind: &str, name: &str, found: Result<bool, AskError>) -> Option<Check> {
    let (code, verdict) = match found {
        Ok(true) => return None,
        Ok(false) => {
            let detail = format!("The {kind} {name} is missing");
            (
                "missing",
                Verdict::finding(detail, "setup, with the same RETRY_DELAYS for all programs"),
            )
        }
        Err(AskError::Refused { code: 406, text }) => {
            let detail = format!("The {kind} {name} exists with other arguments: {text}");
            let delete = match kind {
                "queue" => format!("rabbitmqctl delete_queue --vhost VHOST {name}"),
                _ => format!("delete {name} on RabbitMQ's management page"),
            };
            let mend =
                format!("stop the services when it is empty (slowlane status), {delete}, setup");
            ("arguments", Verdict::finding(detail, mend))
        }
        Err(error) => {
            let detail = format!("Whether the {kind} {name} has the right arguments: {error}");
            ("arguments", Verdict::unseen(detail, "setup --check, as a user who may configure it"))
        }
    };
    Some(Check::new(code, verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_present_timeout_is_in_the_refusal() {
        let of = |current: &str| {
            let text = "PRECONDITION_FAILED - inequivalent arg 'x-consumer-timeout' for queue \
                'processing.requests' in vhost '/': received the value '1800000' of type 'signedint' but current is";
            current_millis(&format!("{text} {current}"))
        };
        assert_eq!(of("'60000'"), Some(Duration::from_secs(60)));
        assert_eq!(of("the value '60000' of type 'signedint'"), Some(Duration::from_secs(60)));
        assert_eq!(of("none"), None);
    }
}
