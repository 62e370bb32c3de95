//! Topology: a queue for each service, which both declare, so that either can start first.

use pipeline::topology::{Queue, QueueType, Topology};

/// What the admin service tells the public service.
pub const MAIN: &str = "main";
/// What the public service tells the admin service.
pub const ADMIN: &str = "admin";

/// Both queues. Messages reach them over the default exchange, by their names.
pub fn catalogue() -> Topology {
    Topology::of_program([], [MAIN, ADMIN].map(queue))
}

fn queue(name: &str) -> Queue {
    Queue::new(name, QueueType::Quorum).without_delivery_limit()
}
