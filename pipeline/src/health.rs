//! Readiness: the parts that a service needs, and the state of each.

use std::collections::BTreeMap;

use serde::Serialize;

/// The answer of `/health/ready`.
#[derive(Debug, Clone, Serialize)]
pub struct Readiness {
    /// `ready` or `not_ready`.
    pub status: &'static str,
    /// The parts that the service needs, by name.
    pub parts: BTreeMap<&'static str, Part>,
}

/// The state of one part that a service needs.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// Whether the part works.
    pub ok: bool,
    /// A description of the state, for people.
    pub detail: String,
    /// What was counted in the queue that the part is about.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueCounts>,
}

/// What was counted in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct QueueCounts {
    /// The messages that wait; those that consumers hold don't count.
    pub waiting: u32,
    /// The consumers.
    pub consumers: u32,
}

impl Part {
    /// A part that works.
    pub fn ok(detail: impl Into<String>) -> Self {
        Self { ok: true, detail: detail.into(), queue: None }
    }

    /// A part that doesn't work, with the reason.
    pub fn missing(detail: impl Into<String>) -> Self {
        Self { ok: false, detail: detail.into(), queue: None }
    }
}

impl Readiness {
    /// `ready` if all parts are ok.
    pub fn of(parts: impl IntoIterator<Item = (&'static str, Part)>) -> Self {
        let parts: BTreeMap<_, _> = parts.into_iter().collect();
        let ready = parts.values().all(|part| part.ok);
        Self { status: if ready { "ready" } else { "not_ready" }, parts }
    }

    /// Whether all parts are ok.
    pub fn is_ready(&self) -> bool {
        self.parts.values().all(|part| part.ok)
    }
}
