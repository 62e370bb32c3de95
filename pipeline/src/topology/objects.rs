//! Exchanges and queues as data: names, kinds, arguments.

/// For queues whose messages the broker must not drop. Releases before 4.0 have no way to say "unlimited".
const NO_DELIVERY_LIMIT: i64 = 1_000_000;

/// The kind of the durable queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueType {
    /// Replicated, counts deliveries, publishes dead letters without loss.
    Quorum,
    /// For brokers that refuse quorum queues: no delivery count, and dead letters can be lost.
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

/// How an exchange routes a message to the queues that are bound to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExchangeKind {
    /// To those bound with the message's routing key.
    Direct,
    /// To those bound with a pattern that matches the routing key (see [`Binding::routing_key`]).
    Topic,
    /// To all of them.
    Fanout,
}

impl ExchangeKind {
    /// The name as the broker spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Topic => "topic",
            Self::Fanout => "fanout",
        }
    }
}

/// A durable exchange.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// How it routes.
    pub kind: ExchangeKind,
}

impl Exchange {
    /// An exchange of this name and kind.
    pub fn new(name: impl Into<String>, kind: ExchangeKind) -> Self {
        Self { name: name.into(), kind }
    }
}

/// A durable queue with its bindings.
#[derive(Debug, Clone)]
pub struct Queue {
    /// Its name, which is also its routing key on the default exchange.
    pub name: String,
    /// The `x-` arguments of the declaration.
    pub arguments: Vec<(&'static str, Argument)>,
    /// The exchanges it is bound to. The broker itself binds every queue to the default exchange.
    pub bindings: Vec<Binding>,
    /// Whether no program consumes it: some brokers delete queues that were not used for weeks.
    pub idle: bool,
}

impl Queue {
    /// A queue of this name and kind, with no bindings, which programs consume.
    pub fn new(name: impl Into<String>, kind: QueueType) -> Self {
        let arguments = vec![("x-queue-type", Argument::Text(kind.name()))];
        Self { name: name.into(), arguments, bindings: Vec::new(), idle: false }
    }

    /// This queue with another binding.
    #[must_use]
    pub fn bound_to(mut self, exchange: &str, routing_key: &str) -> Self {
        self.bindings.push(Binding::new(exchange, routing_key));
        self
    }

    /// This quorum queue with a delivery limit that no message reaches. RabbitMQ drops a message after 20
    /// deliveries from release 4.0 on, and each crash of its consumer counts as one.
    #[must_use]
    pub fn without_delivery_limit(self) -> Self {
        self.with_argument("x-delivery-limit", Argument::Number(NO_DELIVERY_LIMIT))
    }

    /// This queue with another `x-` argument.
    #[must_use]
    pub fn with_argument(mut self, name: &'static str, value: Argument) -> Self {
        self.arguments.push((name, value));
        self
    }
}

/// What leads from an exchange into a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The exchange.
    pub exchange: String,
    /// The routing key; a fanout exchange ignores it. For a topic exchange it is a pattern of words
    /// separated by dots, in which `*` stands for one word and `#` for any number of words.
    pub routing_key: String,
}

impl Binding {
    /// A binding to this exchange with this key or pattern.
    pub fn new(exchange: &str, routing_key: &str) -> Self {
        Self { exchange: exchange.to_owned(), routing_key: routing_key.to_owned() }
    }
}

/// The value of a declaration's argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A string.
    Text(&'static str),
    /// A whole number.
    Number(i64),
}
