//! A request as clients see it.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, UNIX_EPOCH},
};

use pipeline::contract::{ErrorBody, headers::moment};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::store::{Millis, Record, Status, Summary};

/// A request as clients see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    request_id: Uuid,
    status: &'static str,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    processing_results: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody>,
    attempts: u32,
    deliveries: u32,
    run: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<String>,
    #[serde(skip)]
    is_final: bool,
}

impl View {
    /// A request with its result.
    pub(super) fn of(request: Record) -> Self {
        let Record { summary, result } = request;
        let result = result.and_then(|json| String::from_utf8(json).ok());
        let result = result.and_then(|json| RawValue::from_string(json).ok());
        Self { processing_results: result, ..Self::of_summary(summary) }
    }

    /// A request without its result, as lists show it.
    pub(super) fn of_summary(summary: Summary) -> Self {
        let is_final = summary.status.is_final();
        Self {
            request_id: summary.id,
            status: summary.status.as_str(),
            kind: summary.kind,
            processing_results: None,
            error: summary.error,
            attempts: summary.attempts,
            deliveries: summary.deliveries,
            run: summary.run,
            accepted_at: summary.accepted_at.map(time),
            started_at: summary.started_at.map(time),
            finished_at: summary.finished_at.map(time),
            worker: summary.worker,
            last_error: summary.last_error,
            next_attempt_at: summary.next_attempt_at.map(time),
            is_final,
        }
    }

    /// Whether nothing comes after it.
    pub(super) fn is_final(&self) -> bool {
        self.is_final
    }

    /// The body.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("texts, numbers and checked JSON are always JSON")
    }
}

/// The status that a word of the API means.
pub(super) fn status(word: &str) -> Option<Status> {
    Status::ALL.into_iter().find(|status| status.as_str() == word)
}

/// An entity tag for a body: equal bodies have equal tags, on every web service of a release.
pub(super) fn etag(body: &str) -> String {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

fn time(millis: Millis) -> String {
    moment(UNIX_EPOCH + Duration::from_millis(millis.unsigned_abs()))
}
