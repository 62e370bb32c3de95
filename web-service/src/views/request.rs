//! A request as clients see it.

use std::hash::{DefaultHasher, Hash, Hasher};

use pipeline::contract::{ErrorBody, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::{
    openapi::schema::{Failure, RequestStatus},
    requests::retry_callback::CallbackView,
};
use crate::events::jobs::job::Job;
use store::{Record, Status, Summary};

/// The status of a request that somebody works on. It is not stored.
pub(crate) const PROCESSING: &str = "processing";

/// A request as clients see it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Request)]
pub(crate) struct View {
    #[schema(value_type = String, format = "uuid")]
    request_id: Uuid,
    #[schema(value_type = RequestStatus)]
    status: &'static str,
    /// The type of its work.
    #[serde(rename = "type")]
    kind: String,
    /// What came of it: any JSON, as the worker wrote it. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value)]
    processing_results: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Failure)]
    error: Option<ErrorBody>,
    /// How many attempts were made, as far as it is known.
    attempts: u32,
    /// How often it was given to a worker, as far as it is known.
    deliveries: u32,
    /// 0, and one more for each replay.
    run: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    accepted_at: Option<Timestamp>,
    /// By the worker's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    started_at: Option<Timestamp>,
    /// By the worker's clock, else by the store's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    finished_at: Option<Timestamp>,
    /// Who works on it, or did: `host:pid/slot`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    worker: Option<String>,
    /// How far the work is, if it says so: a number whose meaning is the work's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = f64)]
    progress: Option<f64>,
    /// What went wrong in an attempt that was not the final one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    last_error: Option<String>,
    /// When it will be tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    next_attempt_at: Option<Timestamp>,
    /// How far its `callbackUrl` has been told, if it came with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = CallbackView)]
    callback: Option<CallbackView>,
    #[serde(skip)]
    is_final: bool,
    /// The work that it is shown with.
    #[serde(skip)]
    job: Option<Job>,
}

impl View {
    /// A request with its result.
    pub(crate) fn of(request: Record) -> Self {
        let Record { summary, result } = request;
        let result = result.and_then(|json| String::from_utf8(json).ok());
        let result = result.and_then(|json| RawValue::from_string(json).ok());
        Self { processing_results: result, ..Self::of_summary(summary) }
    }

    /// A request without its result, as lists show it.
    pub(crate) fn of_summary(summary: Summary) -> Self {
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
            accepted_at: summary.accepted_at,
            started_at: summary.started_at,
            finished_at: summary.finished_at,
            worker: summary.worker,
            progress: None,
            last_error: summary.last_error,
            next_attempt_at: summary.next_attempt_at,
            callback: summary.callback.map(CallbackView::of),
            is_final,
            job: None,
        }
    }

    /// The same request, as it is told to its callback, which has nothing to hear of itself.
    pub(crate) fn without_callback(self) -> Self {
        Self { callback: None, ..self }
    }

    /// Whether it came with a `callbackUrl`.
    pub(crate) fn has_callback(&self) -> bool {
        self.callback.is_some()
    }

    /// The same request, with the work on it that is known of. It changes nothing about one that
    /// has ended, or was replayed since.
    pub(crate) fn with(self, job: Option<Job>) -> Self {
        let Some(job) = job.filter(|job| !self.is_final && job.execution.run >= self.run) else {
            return self;
        };
        Self {
            status: PROCESSING,
            attempts: self.attempts.max(job.execution.attempt),
            deliveries: self.deliveries.max(job.execution.delivery),
            run: job.execution.run,
            started_at: job.started_at,
            worker: job.worker.clone(),
            progress: job.progress.as_ref().and_then(|progress| progress.value),
            // It has come.
            next_attempt_at: None,
            job: Some(job),
            ..self
        }
    }

    /// The work that it is shown with, if its status is `processing`.
    pub(crate) fn job(&self) -> Option<&Job> {
        self.job.as_ref()
    }

    /// Whether nothing comes after it.
    pub(crate) fn is_final(&self) -> bool {
        self.is_final
    }

    /// The body as it would be without progress, which alone is no new state.
    pub(crate) fn state(&mut self) -> String {
        let progress = self.progress.take();
        let state = self.json();
        self.progress = progress;
        state
    }

    /// The body.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("texts, numbers and checked JSON are always JSON")
    }
}

/// The status that a word of the API means.
pub(crate) fn status(word: &str) -> Option<Status> {
    Status::ALL.into_iter().find(|status| status.as_str() == word)
}

/// An entity tag for a body: equal bodies have equal tags, on every web service of a release.
pub(crate) fn etag(body: &str) -> String {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::jobs::job::ExecutionId;

    fn shown(status: Status, run: u32) -> View {
        let summary = Summary {
            id: Uuid::nil(),
            status,
            kind: "default".into(),
            owner: None,
            run,
            attempts: 2,
            deliveries: 1,
            accepted_at: None,
            started_at: None,
            finished_at: None,
            worker: None,
            error: None,
            last_error: None,
            next_attempt_at: Some(Timestamp::from_millis(7)),
            callback: None,
        };
        let execution = ExecutionId { run: 1, attempt: 1, delivery: 3 };
        let job = Job {
            execution,
            worker: Some("a".into()),
            started_at: Some(Timestamp::from_millis(5)),
            progress: None,
        };
        View::of_summary(summary).with(Some(job))
    }

    #[test]
    fn work_is_shown_only_over_what_has_not_ended() {
        let view = shown(Status::Queued, 1);
        assert_eq!((view.status, view.attempts, view.deliveries), (PROCESSING, 2, 3));
        assert!(view.worker.is_some() && view.started_at.is_some());
        assert!(view.next_attempt_at.is_none() && !view.is_final());
        for ended in [Status::Completed, Status::Failed, Status::Cancelled] {
            let view = shown(ended, 1);
            assert_eq!((view.status, view.worker), (ended.as_str(), None));
        }
    }

    #[test]
    fn work_of_a_run_that_is_over_is_not_shown() {
        assert_eq!(shown(Status::Queued, 2).status, "queued");
        let early = shown(Status::Queued, 0);
        assert_eq!((early.status, early.run), (PROCESSING, 1));
    }
}
