//! What handlers share.

use std::{sync::Arc, time::Duration};

use pipeline::{
    broker::{Broker, Publisher},
    health::Readiness,
};

/// What the broker shows as the maker of our messages.
pub const NAME: &str = "web-service";

/// What handlers share.
pub struct State {
    /// For handing requests to the broker.
    pub publisher: Publisher,
    /// How long a caller waits for the broker's confirm at most.
    pub publish_timeout: Duration,
    broker: Arc<Broker>,
}

impl State {
    /// A state that publishes through `broker`.
    pub fn new(broker: Arc<Broker>, publish_timeout: Duration) -> Self {
        Self { publisher: broker.publisher(), publish_timeout, broker }
    }

    /// What the service needs, and whether it has it.
    pub fn readiness(&self) -> Readiness {
        Readiness::of(self.broker.health())
    }
}
