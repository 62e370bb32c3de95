//! Readiness: what a service needs, and whether it has it.

use std::collections::BTreeMap;

use serde::Serialize;

/// The answer of `/health/ready`.
#[derive(Debug, Clone, Serialize)]
pub struct Readiness {
    /// `ready` or `not_ready`.
    pub status: &'static str,
    /// Each thing the service needs, by name.
    pub parts: BTreeMap<&'static str, Part>,
}

/// One thing a service needs.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// Whether it is there.
    pub ok: bool,
    /// How it is, or what is wrong with it, for people.
    pub detail: String,
}

impl Part {
    /// A part that is fine.
    pub fn ok(detail: impl Into<String>) -> Self {
        Self { ok: true, detail: detail.into() }
    }

    /// A part that is missing, and why.
    pub fn missing(detail: impl Into<String>) -> Self {
        Self { ok: false, detail: detail.into() }
    }
}

impl Readiness {
    /// Ready means that every part is.
    pub fn of(parts: impl IntoIterator<Item = (&'static str, Part)>) -> Self {
        let parts: BTreeMap<_, _> = parts.into_iter().collect();
        let ready = parts.values().all(|part| part.ok);
        Self { status: if ready { "ready" } else { "not_ready" }, parts }
    }

    /// Whether every part is there.
    pub fn is_ready(&self) -> bool {
        self.parts.values().all(|part| part.ok)
    }
}
