//! Topology: names and arguments of the exchanges and the queues, as data.
//!
//! [`Topology::new`] and the constructors beside it are Slowlane's own. [`Topology::of_program`] is for a
//! program of another system, whose exchanges and queues it lists; then nothing of Slowlane's is declared.
//!
//! The arguments are constants of the release: a queue that exists with others makes the broker
//! refuse the declaration (406 `PRECONDITION_FAILED`), and only deleting the queue would help.

pub(crate) mod ack_timeout;
pub(crate) mod exclusive_queue;
pub(crate) mod names;
pub(crate) mod objects;
pub(crate) mod request_type;
pub(crate) mod retry;

use std::time::Duration;

pub use crate::topology::ack_timeout::{AckTimeoutSetBy, DEFAULT_ACK_TIMEOUT};
pub use crate::topology::exclusive_queue::{Events, ExclusiveQueue, lock_arguments};
pub use crate::topology::names::*;
pub use crate::topology::objects::{Argument, Binding, Exchange, ExchangeKind, Queue, QueueType};
pub use crate::topology::request_type::{InvalidRequestType, RequestType, RequestTypes};
pub use crate::topology::retry::{RETRY, RetryDelays, retry};

/// How often the broker delivers a message again before it moves it on: from the working queues to
/// `processing.failed`, and from there to `processing.unreadable`. It is for messages that no program
/// can receive; attempts are counted apart.
pub const DELIVERY_LIMIT: i64 = 20;

/// Everything that has to be declared in a virtual host.
#[derive(Debug, Clone)]
pub struct Topology {
    /// The exchanges.
    pub exchanges: Vec<Exchange>,
    /// The queues, each with its bindings.
    pub queues: Vec<Queue>,
    /// Who makes the bindings.
    pub declared_by: DeclaredBy,
}

/// Who declares a topology. At each connect programs declare exchanges and queues that are missing, and
/// make the bindings again, because whether one exists can't be asked over AMQP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclaredBy {
    /// `setup`: a program whose user may not make bindings does without where nothing was missing.
    Setup,
    /// Each program, for itself: it doesn't work without its bindings.
    Program,
}

impl Topology {
    /// The topology of this release, with a queue for the requests of each type. `ack_timeout` is how long a
    /// worker may keep a request unacknowledged; classic queues can't have one of their own.
    pub fn new(kind: QueueType, ack_timeout: Duration, types: &RequestTypes) -> Self {
        let requests = types.iter().map(|of_type| request_queue(of_type, kind, ack_timeout));
        let results = dead_lettering(RESULTS, KEY_RESULT, KEY_FAILED, kind);
        let failed = dead_lettering(FAILED, KEY_FAILED, KEY_UNREADABLE, kind);
        let unreadable = last_resort(UNREADABLE, KEY_UNREADABLE, kind);
        let exchanges = [
            (EXCHANGE, ExchangeKind::Direct),
            (EVENTS, ExchangeKind::Topic),
            (CONTROL, ExchangeKind::Fanout),
        ]
        .map(|(name, kind)| Exchange::new(name, kind));
        let queues = requests.chain([results, failed, unreadable]).collect();
        Self { exchanges: exchanges.into(), queues, declared_by: DeclaredBy::Setup }
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

    /// The topology of which a service declares missing parts; it doesn't know the settings of `setup`.
    pub fn of_service(types: &RequestTypes) -> Self {
        Self::new(QueueType::Quorum, DEFAULT_ACK_TIMEOUT, types)
    }

    /// The topology of which a processor of requests of these types declares missing parts.
    pub fn of_processor(types: &RequestTypes, delays: &RetryDelays) -> Self {
        Self::of_service(types).retrying(QueueType::Quorum, delays)
    }

    /// The topology of a program of another system: all that it publishes to and consumes, whoever else
    /// declares it too.
    pub fn of_program(
        exchanges: impl IntoIterator<Item = Exchange>,
        queues: impl IntoIterator<Item = Queue>,
    ) -> Self {
        Self {
            exchanges: exchanges.into_iter().collect(),
            queues: queues.into_iter().collect(),
            declared_by: DeclaredBy::Program,
        }
    }
}

/// The queue in which requests of a type wait for a worker.
pub fn request_queue(of_type: &RequestType, kind: QueueType, ack_timeout: Duration) -> Queue {
    let (name, key) = (of_type.queue(), of_type.routing_key());
    let mut requests = dead_lettering(&name, &key, KEY_FAILED, kind);
    if kind == QueueType::Quorum {
        let millis = i64::try_from(ack_timeout.as_millis()).unwrap_or(i64::MAX);
        requests.arguments.push(("x-consumer-timeout", Argument::Number(millis)));
    }
    requests
}

/// A queue whose dead letters are published under another key, without loss if it is a quorum queue:
/// <https://www.rabbitmq.com/docs/quorum-queues#dead-lettering>.
fn dead_lettering(name: &str, key: &str, dead_letter_key: &'static str, kind: QueueType) -> Queue {
    let queue = Queue::new(name, kind)
        .with_argument("x-dead-letter-exchange", Argument::Text(EXCHANGE))
        .with_argument("x-dead-letter-routing-key", Argument::Text(dead_letter_key))
        .with_argument("x-overflow", Argument::Text("reject-publish"))
        .bound_to(EXCHANGE, key);
    match kind {
        QueueType::Quorum => queue
            .with_argument("x-dead-letter-strategy", Argument::Text("at-least-once"))
            .with_argument("x-delivery-limit", Argument::Number(DELIVERY_LIMIT)),
        QueueType::Classic => queue,
    }
}

/// A queue that messages leave only by being acknowledged, and that no program consumes.
fn last_resort(name: &str, key: &str, kind: QueueType) -> Queue {
    let queue = Queue::new(name, kind)
        .with_argument("x-overflow", Argument::Text("reject-publish"))
        .bound_to(EXCHANGE, key);
    let queue = match kind {
        QueueType::Quorum => queue.without_delivery_limit(),
        QueueType::Classic => queue,
    };
    Queue { idle: true, ..queue }
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
        let types = RequestTypes::default();
        let topology = Topology::new(QueueType::Classic, DEFAULT_ACK_TIMEOUT, &types);
        for queue in topology.retrying(QueueType::Classic, &delays).queues {
            for (name, _) in queue.arguments {
                assert!(allowed.contains(&name), "{name}");
            }
        }
    }

    /// A queue's name and its arguments, but for the timeout of its deliveries.
    fn declared(queue: &Queue) -> String {
        let others = queue.arguments.iter().filter(|(name, _)| *name != "x-consumer-timeout");
        let arguments = others.map(|(name, value)| match value {
            Argument::Text(text) => format!(" {name}={text}"),
            other => format!(" {name}={other:?}"),
        });
        format!("{}:{}", queue.name, arguments.collect::<String>())
    }

    /// With others every installation would have to delete its queues.
    #[test]
    fn the_arguments_are_those_of_all_releases() {
        let (delays, types) =
            (RetryDelays::new(vec![Duration::from_secs(1)]).unwrap(), RequestTypes::default());
        let of_kind = |kind| -> Vec<String> {
            let topology = Topology::new(kind, DEFAULT_ACK_TIMEOUT, &types).retrying(kind, &delays);
            topology.queues.iter().map(declared).collect()
        };
        let to = |name, key, more: &str| {
            format!(
                "processing.{name} x-dead-letter-exchange=processing \
                 x-dead-letter-routing-key={key} x-overflow=reject-publish{more}"
            )
        };
        let strict = " x-dead-letter-strategy=at-least-once";
        let limited = format!("{strict} x-delivery-limit=Number(20)");
        let quorum = [
            to("requests: x-queue-type=quorum", "failed", &limited),
            to("results: x-queue-type=quorum", "failed", &limited),
            to("failed: x-queue-type=quorum", "unreadable", &limited),
            "processing.unreadable: x-queue-type=quorum x-overflow=reject-publish \
             x-delivery-limit=Number(1000000)"
                .to_owned(),
            format!(
                "processing.retry.1000: x-queue-type=quorum x-message-ttl=Number(1000) \
                 x-dead-letter-exchange=processing x-overflow=reject-publish{strict}"
            ),
        ];
        assert_eq!(of_kind(QueueType::Quorum), quorum);
        let classic = [
            to("requests: x-queue-type=classic", "failed", ""),
            to("results: x-queue-type=classic", "failed", ""),
            to("failed: x-queue-type=classic", "unreadable", ""),
            "processing.unreadable: x-queue-type=classic x-overflow=reject-publish".to_owned(),
            "processing.retry.1000: x-queue-type=classic x-message-ttl=Number(1000) \
             x-dead-letter-exchange=processing x-overflow=reject-publish"
                .to_owned(),
        ];
        assert_eq!(of_kind(QueueType::Classic), classic);
    }

    #[test]
    fn only_requests_have_an_ack_timeout() {
        let types = RequestTypes::default();
        let topology = Topology::new(QueueType::Quorum, Duration::from_secs(90), &types);
        let timeouts: Vec<_> =
            topology.queues.iter().map(|queue| argument(queue, "x-consumer-timeout")).collect();
        assert_eq!(timeouts, [Some(&Argument::Number(90_000)), None, None, None]);
    }

    #[test]
    fn the_requests_of_each_type_have_a_queue_that_differs_in_its_names_alone() {
        let types = ["default", "video"].map(|name| name.parse().unwrap());
        let topology = Topology::of_service(&RequestTypes::new(types).unwrap());
        let [plain, video] = &topology.queues[..2] else { panic!() };
        assert_eq!(
            (plain.name.as_str(), plain.bindings[0].routing_key.as_str()),
            (REQUESTS, KEY_REQUEST)
        );
        assert_eq!(video.name, "processing.requests.video");
        assert_eq!(video.bindings, [Binding::new(EXCHANGE, "request.video")]);
        assert_eq!(plain.arguments, video.arguments);
    }
}
