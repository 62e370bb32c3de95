//! Queues that live and die with a connection. Nobody declares them beforehand.

use uuid::Uuid;

use crate::topology::{
    names::{CONTROL, EVENTS},
    objects::Argument,
};

/// What the names of the processes' own queues begin with.
const INSTANCE: &str = "processing.instance.";
/// Far more than waits for a process that is well. One that is not loses the oldest.
const INSTANCE_LENGTH: i64 = 10_000;

/// A process's own queue for what is said to all: exclusive and auto-delete.
#[derive(Debug, Clone)]
pub struct InstanceQueue {
    /// A name that nobody had before: the broker may still keep a queue of a connection that we
    /// know to be lost.
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
        Self { name: format!("{INSTANCE}{}", Uuid::now_v7()), bindings }
    }

    /// The `x-` arguments of the declaration.
    pub fn arguments() -> Vec<(&'static str, Argument)> {
        vec![
            ("x-max-length", Argument::Number(INSTANCE_LENGTH)),
            ("x-overflow", Argument::Text("drop-head")),
        ]
    }
}

/// The `x-` arguments of an exclusive queue that is only there to be held: what is published to it
/// by mistake doesn't pile up.
pub fn lock_arguments() -> Vec<(&'static str, Argument)> {
    vec![("x-max-length", Argument::Number(1))]
}
