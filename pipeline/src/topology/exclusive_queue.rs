//! Exclusive queues: the one of a process for what all running processes receive, and the lock's arguments.

use uuid::Uuid;

use crate::topology::{
    names::{CONTROL, EVENTS},
    objects::{Argument, Binding},
};

/// The routing keys of the events of workers.
const OF_WORKERS: &str = "request.*";

/// Which events a program receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Events {
    /// None.
    None,
    /// Those of workers: what is committed to the store is known here first, since no other program commits to it.
    OfWorkers,
    /// Also those of other web services.
    All,
}

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

    /// The queue of a program of Slowlane: for control messages, and for these events.
    pub(crate) fn of_instance(events: Events) -> Self {
        let queue = Self::new(INSTANCE).bound_to(CONTROL, "");
        match events {
            Events::None => queue,
            Events::OfWorkers => queue.bound_to(EVENTS, OF_WORKERS),
            Events::All => queue.bound_to(EVENTS, "#"),
        }
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
