//! Exclusive queues: the one of a process for control messages and events, and the lock's arguments.

use uuid::Uuid;

use crate::topology::{
    names::{CONTROL, EVENTS},
    objects::Argument,
};

/// The prefix of the names.
const PREFIX: &str = "processing.instance.";
/// Far more messages than wait for a healthy process. Beyond that the broker drops the oldest.
const MAX_MESSAGES: i64 = 10_000;

/// A process's queue for control messages and events: exclusive and auto-delete.
#[derive(Debug, Clone)]
pub struct InstanceQueue {
    /// A new name each time: the broker may still have the queue of a lost connection.
    pub name: String,
    /// The exchanges it is bound to, each with the key.
    pub bindings: Vec<(&'static str, &'static str)>,
}

impl InstanceQueue {
    /// A new queue for control messages, and for events if they are wanted.
    pub fn new(events: bool) -> Self {
        let mut bindings = vec![(CONTROL, "")];
        if events {
            bindings.push((EVENTS, "#"));
        }
        Self { name: format!("{PREFIX}{}", Uuid::now_v7()), bindings }
    }

    /// The `x-` arguments of the declaration.
    pub fn arguments() -> Vec<(&'static str, Argument)> {
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
