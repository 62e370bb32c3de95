//! Exclusive queues: the one of a process for what all running processes receive, and the lock's arguments.

use uuid::Uuid;

use crate::topology::{
    names::{CONTROL, EVENTS},
    objects::{Argument, Binding},
};

/// The beginning of the names of Slowlane's own.
const INSTANCE: &str = "processing.instance";
/// Far more messages than wait for a healthy process. Beyond that the broker drops the oldest.
const MAX_MESSAGES: i64 = 10_000;

/// A process's own queue, for messages that every running process receives: exclusive and auto-delete.
///
/// It is declared under a new name for each subscription, because the broker may still have the queue of a
/// lost connection.
#[derive(Debug, Clone)]
pub struct ExclusiveQueue {
    /// The beginning of the name; a dot and a UUID follow.
    pub prefix: String,
    /// The exchanges it is bound to. The program's topology has to list them too.
    pub bindings: Vec<Binding>,
}

impl ExclusiveQueue {
    /// A queue with this beginning of its name, with no bindings.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), bindings: Vec::new() }
    }

    /// This queue with another binding.
    #[must_use]
    pub fn bound_to(mut self, exchange: &str, routing_key: &str) -> Self {
        self.bindings.push(Binding::new(exchange, routing_key));
        self
    }

    /// The queue of a program of Slowlane: for control messages, and for events if they are wanted.
    pub(crate) fn of_instance(events: bool) -> Self {
        let queue = Self::new(INSTANCE).bound_to(CONTROL, "");
        if events { queue.bound_to(EVENTS, "#") } else { queue }
    }

    /// A name that was never used before.
    pub(crate) fn new_name(&self) -> String {
        format!("{}.{}", self.prefix, Uuid::now_v7())
    }

    /// The `x-` arguments of the declaration.
    pub(crate) fn arguments() -> Vec<(&'static str, Argument)> {
        vec![
            ("x-max-length", Argument::Number(MAX_MESSAGES)),
            ("x-overflow", Argument::Text("drop-head")),
        ]
    }
}

/// The `x-` arguments of a lock's queue: messages published to it by mistake don't pile up.
pub fn lock_arguments() -> Vec<(&'static str, Argument)> {
    vec![("x-max-length", Argument::Number(1))]
}
