//! Exchanges and queues as data: names, kinds, arguments.

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
    /// Whether no program consumes it: some brokers delete queues that were not used for weeks.
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
