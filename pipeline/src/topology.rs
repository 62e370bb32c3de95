//! Where messages travel: names and arguments of the exchanges and the queues, as data.
//!
//! The arguments are constants of the release: a queue that exists with others makes the broker
//! refuse the declaration (406 `PRECONDITION_FAILED`), and only deleting the queue would help.

mod instance_queue;
mod retry;

use std::time::Duration;

pub use instance_queue::{InstanceQueue, lock_arguments};
pub use retry::{RETRY, RetryDelays, retry};

/// The exchange all requests and results go through.
pub const EXCHANGE: &str = "processing";
/// The exchange of what happens to requests: a topic, keyed by the event's name. Anybody may listen.
pub const EVENTS: &str = "processing.events";
/// The exchange of what is said to every program at once.
pub const CONTROL: &str = "processing.control";
/// The queue that only one web service can hold, where only one may work.
pub const WEB_LOCK: &str = "processing.web.lock";
/// The routing key of requests.
pub const KEY_REQUEST: &str = "request";
/// The routing key of results.
pub const KEY_RESULT: &str = "result";
/// The routing key of messages that nobody can work on, and of dead letters.
pub const KEY_FAILED: &str = "failed";
/// Requests wait here for a worker.
pub const REQUESTS: &str = "processing.requests";
/// Results wait here for a web service.
pub const RESULTS: &str = "processing.results";
/// Failed requests wait here for a web service.
pub const FAILED: &str = "processing.failed";

/// The `ACK_TIMEOUT` that services declare a missing queue with: the broker's own default.
pub const DEFAULT_ACK_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// How often the broker delivers a message of the working queues again before it hands it to
/// `processing.failed`. It is a guard against crashing workers, not the count of attempts.
const DELIVERY_LIMIT: i64 = 20;
/// For a queue whose messages must never be dropped by the broker, whatever happens to consumers.
const NO_DELIVERY_LIMIT: i64 = 1_000_000;

/// The kind of the durable queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueType {
    /// Replicated, counts deliveries, hands dead letters over without loss.
    Quorum,
    /// For brokers that refuse quorum queues: without the delivery count and the safe hand-over.
    Classic,
}

impl QueueType {
    /// The name as the broker and `QUEUE_TYPE` spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
        }
    }
}

/// Everything that has to be declared in a virtual host.
#[derive(Debug, Clone)]
pub struct Topology {
    /// The exchanges.
    pub exchanges: Vec<Exchange>,
    /// The queues, each with its binding.
    pub queues: Vec<Queue>,
}

/// A durable exchange.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// `direct`, `fanout` or `topic`.
    pub kind: &'static str,
}

/// A durable queue and the key that leads to it.
#[derive(Debug, Clone)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// The `x-` arguments of the declaration.
    pub arguments: Vec<(&'static str, Argument)>,
    /// The exchange it is bound to.
    pub exchange: String,
    /// The routing key it is bound with.
    pub routing_key: String,
    /// Whether nobody ever consumes it: some brokers delete queues that were not used for weeks.
    pub idle: bool,
}

/// The value of a declaration's argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A string.
    Text(&'static str),
    /// A whole number.
    Number(i64),
}

impl Topology {
    /// The topology of this release. `ack_timeout` is how long a worker may keep a request
    /// unacknowledged; classic queues can't have one of their own.
    pub fn new(kind: QueueType, ack_timeout: Duration) -> Self {
        let mut requests = dead_lettering(REQUESTS, KEY_REQUEST, kind);
        if kind == QueueType::Quorum {
            let millis = i64::try_from(ack_timeout.as_millis()).unwrap_or(i64::MAX);
            requests.arguments.push(("x-consumer-timeout", Argument::Number(millis)));
        }
        let results = dead_lettering(RESULTS, KEY_RESULT, kind);
        let failed = last_resort(FAILED, KEY_FAILED, kind);
        let exchanges = [(EXCHANGE, "direct"), (EVENTS, "topic"), (CONTROL, "fanout")]
            .map(|(name, kind)| Exchange { name: name.to_owned(), kind });
        Self { exchanges: exchanges.into(), queues: vec![requests, results, failed] }
    }

    /// This topology with a waiting queue for each of the delays.
    #[must_use]
    pub fn retrying(mut self, kind: QueueType, delays: &RetryDelays) -> Self {
        for delay in delays.steps() {
            self.exchanges.push(retry::exchange(delay));
            self.queues.push(retry::queue(delay, kind));
        }
        self
    }

    /// What a processor declares where something is missing.
    pub fn of_processor(delays: &RetryDelays) -> Self {
        Self::default().retrying(QueueType::Quorum, delays)
    }
}

impl Default for Topology {
    /// What a service declares where something is missing: it doesn't know what `setup` was told.
    fn default() -> Self {
        Self::new(QueueType::Quorum, DEFAULT_ACK_TIMEOUT)
    }
}

/// A queue whose dead letters go to the failed queue, and are not lost on the way there: see
/// <https://www.rabbitmq.com/docs/quorum-queues#dead-lettering>.
fn dead_lettering(name: &str, key: &str, kind: QueueType) -> Queue {
    let mut arguments = vec![
        ("x-queue-type", Argument::Text(kind.name())),
        ("x-dead-letter-exchange", Argument::Text(EXCHANGE)),
        ("x-dead-letter-routing-key", Argument::Text(KEY_FAILED)),
        ("x-overflow", Argument::Text("reject-publish")),
    ];
    if kind == QueueType::Quorum {
        arguments.push(("x-dead-letter-strategy", Argument::Text("at-least-once")));
        arguments.push(("x-delivery-limit", Argument::Number(DELIVERY_LIMIT)));
    }
    bound(name, key, arguments)
}

/// A queue that messages leave only by being acknowledged.
fn last_resort(name: &str, key: &str, kind: QueueType) -> Queue {
    let mut arguments = vec![
        ("x-queue-type", Argument::Text(kind.name())),
        ("x-overflow", Argument::Text("reject-publish")),
    ];
    if kind == QueueType::Quorum {
        arguments.push(("x-delivery-limit", Argument::Number(NO_DELIVERY_LIMIT)));
    }
    bound(name, key, arguments)
}

fn bound(name: &str, key: &str, arguments: Vec<(&'static str, Argument)>) -> Queue {
    Queue {
        name: name.to_owned(),
        arguments,
        exchange: EXCHANGE.to_owned(),
        routing_key: key.to_owned(),
        idle: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument<'a>(queue: &'a Queue, name: &str) -> Option<&'a Argument> {
        queue.arguments.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    #[test]
    fn classic_queues_get_only_what_classic_queues_take() {
        let allowed = [
            "x-queue-type",
            "x-dead-letter-exchange",
            "x-dead-letter-routing-key",
            "x-message-ttl",
            "x-overflow",
        ];
        let delays = RetryDelays::new(vec![Duration::from_secs(1)]).unwrap();
        let topology = Topology::new(QueueType::Classic, DEFAULT_ACK_TIMEOUT);
        for queue in topology.retrying(QueueType::Classic, &delays).queues {
            for (name, _) in queue.arguments {
                assert!(allowed.contains(&name), "{name}");
            }
        }
    }

    #[test]
    fn only_requests_have_an_ack_timeout() {
        let topology = Topology::new(QueueType::Quorum, Duration::from_secs(90));
        let timeouts: Vec<_> =
            topology.queues.iter().map(|queue| argument(queue, "x-consumer-timeout")).collect();
        assert_eq!(timeouts, [Some(&Argument::Number(90_000)), None, None]);
    }
}
