//! A request as JSON: its stored row, with the work on it that is known of.

use pipeline::contract::{Progress, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    events::jobs::job::Job,
    views::{
        callback::{CallbackStatus, CallbackView},
        failure::Failure,
        progress_count::CountView,
    },
};
use store::{Record, Status, Summary};

/// A request, with its result if it has one.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Request)]
pub(crate) struct RequestView {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) request_id: Uuid,
    pub(crate) status: RequestStatus,
    /// The type of its work.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The result: any JSON, as the worker wrote it. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value)]
    pub(crate) processing_results: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Failure)]
    pub(crate) error: Option<Failure>,
    /// How many attempts were made, as far as it is known.
    pub(crate) attempts: u32,
    /// How often it was delivered to a worker, as far as it is known.
    pub(crate) deliveries: u32,
    /// 0, and one more for each replay.
    pub(crate) run: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) accepted_at: Option<Timestamp>,
    /// By the worker's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) started_at: Option<Timestamp>,
    /// By the worker's clock, else by the store's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) finished_at: Option<Timestamp>,
    /// The worker that processes or processed it: `host:pid/slot`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    pub(crate) worker: Option<String>,
    /// The progress of the work, if the worker reports it: from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = f64, minimum = 0, maximum = 1)]
    pub(crate) progress: Option<f64>,
    /// What `progress` was counted from, if the worker counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = CountView)]
    pub(crate) progress_count: Option<CountView>,
    /// What the worker says of its progress, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    pub(crate) progress_message: Option<String>,
    /// Why an attempt failed that was not the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    pub(crate) last_error: Option<String>,
    /// When the next attempt begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) next_attempt_at: Option<Timestamp>,
    /// The state of its callback, if it was submitted with a `callbackUrl`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = CallbackView)]
    pub(crate) callback: Option<CallbackView>,
    #[serde(skip)]
    pub(crate) is_final: bool,
    /// The job that is shown, if the status is `processing`.
    #[serde(skip)]
    pub(crate) job: Option<Job>,
}

/// The status of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RequestStatus {
    Queued,
    /// Not stored: follows from the workers' events.
    Processing,
    Completed,
    Failed,
    Cancelled,
}

impl RequestView {
    /// The request without its callback: a webhook does not report on itself.
    pub(crate) fn without_callback(self) -> Self {
        Self { callback: None, ..self }
    }

    /// Whether the request was submitted with a `callbackUrl`.
    pub(crate) fn has_callback(&self) -> bool {
        self.callback.is_some()
    }

    /// When its next attempt begins, if the time for that has not come. After that it waits for a worker, as others do.
    pub(crate) fn waits_until(&self) -> Option<Timestamp> {
        self.next_attempt_at.filter(|at| *at > Timestamp::now())
    }

    /// Whether its callback may still be called.
    pub(crate) fn has_pending_callback(&self) -> bool {
        self.callback.as_ref().is_some_and(|it| it.status == CallbackStatus::Pending)
    }

    /// The request with the job that is known of it. A job changes nothing about a request that has
    /// ended, or that was replayed after the job began.
    pub(crate) fn with_job(self, job: Option<Job>) -> Self {
        let Some(job) = job.filter(|job| !self.is_final && job.execution.run >= self.run) else {
            return self;
        };
        let reported = job.progress.as_ref();
        let progress = reported.and_then(|reported| reported.value);
        Self {
            status: RequestStatus::Processing,
            attempts: self.attempts.max(job.execution.attempt),
            deliveries: self.deliveries.max(job.execution.delivery),
            run: job.execution.run,
            started_at: job.started_at,
            worker: job.worker.clone(),
            progress: progress.map(Progress::fraction),
            progress_count: progress.and_then(Progress::count).map(CountView::from),
            progress_message: reported.and_then(|reported| reported.message.clone()),
            // That attempt has begun.
            next_attempt_at: None,
            job: Some(job),
            ..self
        }
    }

    /// The job that is shown, if the status is `processing`.
    pub(crate) fn job(&self) -> Option<&Job> {
        self.job.as_ref()
    }

    /// Names the state for a client that follows the request: another one after each replay and each change of the status.
    pub(crate) fn event_id(&self) -> String {
        format!("{}.{}", self.run, self.status.name())
    }

    /// Whether a client that has received the event with this id needs no more: the request has ended, and that event
    /// told it. An id that no event has is taken for that of the last one.
    pub(crate) fn has_ended_for(&self, last_event_id: &str) -> bool {
        let is_known = last_event_id.split_once('.').is_some_and(|(run, status)| {
            run.parse::<u32>().is_ok() && RequestStatus::named(status).is_some()
        });
        self.is_final && (!is_known || last_event_id == self.event_id())
    }

    /// Whether the status is final.
    pub(crate) fn is_final(&self) -> bool {
        self.is_final
    }

    /// The request as JSON.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("texts, numbers and checked JSON are always JSON")
    }

    /// The request as JSON without its progress: two of these differ when more than the progress has
    /// changed.
    pub(crate) fn json_without_progress(&mut self) -> String {
        let count = self.progress_count.take();
        let (progress, message) = (self.progress.take(), self.progress_message.take());
        let json = self.json();
        self.progress_count = count;
        (self.progress, self.progress_message) = (progress, message);
        json
    }
}

impl From<Record> for RequestView {
    fn from(Record { summary, result }: Record) -> Self {
        let result = result.and_then(|json| String::from_utf8(json).ok());
        let processing_results = result.and_then(|json| RawValue::from_string(json).ok());
        Self { processing_results, ..summary.into() }
    }
}

impl From<Summary> for RequestView {
    fn from(summary: Summary) -> Self {
        Self {
            request_id: summary.id,
            status: summary.status.into(),
            kind: summary.kind,
            processing_results: None,
            error: summary.error.map(Failure::from),
            attempts: summary.attempts,
            deliveries: summary.deliveries,
            run: summary.run,
            accepted_at: summary.accepted_at,
            started_at: summary.started_at,
            finished_at: summary.finished_at,
            worker: summary.worker,
            progress: None,
            progress_count: None,
            progress_message: None,
            last_error: summary.last_error,
            next_attempt_at: summary.next_attempt_at,
            callback: summary.callback.map(CallbackView::from),
            is_final: summary.status.is_final(),
            job: None,
        }
    }
}

impl RequestStatus {
    /// All statuses, in the order of a request's life.
    pub(crate) const ALL: [Self; 5] =
        [Self::Queued, Self::Processing, Self::Completed, Self::Failed, Self::Cancelled];

    /// The status of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// The word for it in the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The same status in the store; none for `processing`, which is not stored.
    pub(crate) fn stored(self) -> Option<Status> {
        Status::ALL.into_iter().find(|status| Self::from(*status) == self)
    }
}

impl From<Status> for RequestStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Queued => Self::Queued,
            Status::Completed => Self::Completed,
            Status::Failed => Self::Failed,
            Status::Cancelled => Self::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use pipeline::topology::RequestType;

    use super::*;
    use crate::{events::jobs::job::ExecutionId, samples};

    fn shown(status: Status, run: u32) -> RequestView {
        let summary = Summary {
            run,
            attempts: 2,
            deliveries: 1,
            next_attempt_at: Some(Timestamp::from_millis(7)),
            ..samples::summary(status)
        };
        let execution = ExecutionId { run: 1, attempt: 1, delivery: 3 };
        let job = Job {
            request_type: RequestType::DEFAULT,
            execution,
            worker: Some("a".into()),
            started_at: Some(Timestamp::from_millis(5)),
            progress: None,
        };
        RequestView::from(summary).with_job(Some(job))
    }

    #[test]
    fn a_job_is_shown_only_if_the_request_has_not_ended() {
        let view = shown(Status::Queued, 1);
        assert_eq!(
            (view.status, view.attempts, view.deliveries),
            (RequestStatus::Processing, 2, 3)
        );
        assert!(view.worker.is_some() && view.started_at.is_some());
        assert!(view.next_attempt_at.is_none() && !view.is_final());
        for ended in [Status::Completed, Status::Failed, Status::Cancelled] {
            let view = shown(ended, 1);
            assert_eq!((view.status, view.worker), (ended.into(), None));
        }
    }

    #[test]
    fn a_client_needs_no_more_once_it_has_the_end_of_the_latest_run() {
        let ended = shown(Status::Failed, 1);
        assert_eq!(ended.event_id(), "1.failed");
        for (last, needs_no_more) in
            [("1.failed", true), ("1.processing", false), ("0.failed", false), ("7", true)]
        {
            assert_eq!(ended.has_ended_for(last), needs_no_more, "{last}");
        }
        assert!(!shown(Status::Queued, 2).has_ended_for("1.failed"));
    }

    #[test]
    fn names_of_statuses_are_those_in_json() {
        for status in RequestStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.name());
            assert_eq!(RequestStatus::named(status.name()), Some(status));
        }
        assert_eq!(RequestStatus::named("Queued"), None);
    }

    #[test]
    fn a_job_of_an_earlier_run_is_not_shown() {
        assert_eq!(shown(Status::Queued, 2).status, RequestStatus::Queued);
        let early = shown(Status::Queued, 0);
        assert_eq!((early.status, early.run), (RequestStatus::Processing, 1));
    }
}
