//! Events: what happens to requests, for any program that listens. They may be lost.

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::contract::{
    id::RequestId,
    json::{object, or_default},
    malformed::Malformed,
    message::{Message, Properties},
    progress::{self, Progress},
    result::ErrorBody,
    timestamp::Timestamp,
};
use crate::topology::{self, RequestType};

/// The name, and the routing key, of [`Event::Finished`].
const FINISHED: &str = "requests.finished";
/// How many requests one [`Finished`] has at most.
const MAX_FINISHED_REQUESTS: usize = 500;

/// Something that happened. Its name is the routing key it is published with.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a box would cost each event an allocation")]
pub enum Event {
    /// A worker reports on the request it works on.
    Job(JobEvent),
    /// `requests.finished`: a web service has committed final states.
    Finished(Finished),
}

/// A worker's event. Only `requestId` is required.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobEvent {
    /// The request's id.
    pub request_id: RequestId,
    /// What happened; parsed from the routing key.
    #[serde(skip_deserializing)]
    pub event: JobEventName,
    /// The type of the request.
    #[serde(
        rename = "type",
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "RequestType::is_default"
    )]
    pub request_type: RequestType,
    /// When it happened. For `request.started` when the work began, also if the event is sent later.
    #[serde(default = "Timestamp::now", deserialize_with = "or_now")]
    pub at: Timestamp,
    /// Which run this is: 0, and one more for each replay.
    #[serde(default, deserialize_with = "or_default")]
    pub run: i64,
    /// Which attempt of the run this is, from 1.
    #[serde(default = "one", deserialize_with = "or_one")]
    pub attempt: i64,
    /// Which delivery of the message this is, from 1.
    #[serde(default = "one", deserialize_with = "or_one")]
    pub delivery: i64,
    /// Who works on it: `host:pid/slot`.
    #[serde(default, deserialize_with = "or_default")]
    pub worker: String,
    /// When the work began that is over, by the worker's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// How far the work is. What has another unit is left out.
    #[serde(
        default,
        deserialize_with = "progress::lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub progress: Option<Progress>,
    /// A description of the progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Why it has to be tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
}

/// The name of a [`JobEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum JobEventName {
    /// A worker has begun the request.
    #[default]
    #[serde(rename = "request.started")]
    Started,
    /// The work has made progress.
    #[serde(rename = "request.progress")]
    Progress,
    /// The work failed and is tried again later.
    #[serde(rename = "request.retrying")]
    Retrying,
}

/// Requests that came to their end, as committed to the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// When the states were committed.
    #[serde(default = "Timestamp::now")]
    pub at: Timestamp,
    /// The requests, 500 at most.
    pub requests: Vec<FinishedRequest>,
}

/// One request of [`Finished`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FinishedRequest {
    /// Which request.
    pub request_id: Uuid,
    /// How it ended.
    pub status: FinalStatus,
}

/// How a request can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FinalStatus {
    /// With a result.
    Completed,
    /// With an error.
    Failed,
    /// Cancelled by its owner.
    Cancelled,
}

impl Event {
    /// Reads the event that was published with this routing key; `None` if its name is unknown.
    ///
    /// # Errors
    /// [`Malformed`] if the name is known and the body is not what belongs to it.
    pub fn parse(routing_key: &str, body: &[u8]) -> Result<Option<Self>, Malformed> {
        let malformed = |error| Malformed::new(format!("the body is no {routing_key}: {error}"));
        if routing_key == FINISHED {
            return object(body).map(Self::Finished).map(Some).map_err(malformed);
        }
        let Some(event) = JobEventName::of(routing_key) else { return Ok(None) };
        let job: JobEvent = object(body).map_err(malformed)?;
        Ok(Some(Self::Job(JobEvent { event, ..job })))
    }

    /// The events of these requests, at most 500 in each.
    pub fn finished(at: Timestamp, requests: &[FinishedRequest]) -> impl Iterator<Item = Self> {
        let event = move |some: &[FinishedRequest]| Finished { at, requests: some.to_vec() };
        requests.chunks(MAX_FINISHED_REQUESTS).map(event).map(Self::Finished)
    }

    /// The event's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Job(job) => job.event.text(),
            Self::Finished(_) => FINISHED,
        }
    }

    /// The message that is published for the event.
    pub fn message(&self) -> Message {
        let (id, body) = match self {
            Self::Job(job) => (Some(&job.request_id), serde_json::to_vec(job)),
            Self::Finished(finished) => (None, serde_json::to_vec(finished)),
        };
        Message {
            exchange: topology::EVENTS.into(),
            routing_key: self.name().to_owned(),
            properties: Properties::transient(self.name(), id),
            body: body.expect("texts and numbers are always JSON"),
        }
    }
}

impl JobEvent {
    /// An event of the first delivery of a request, now. The caller sets the other fields.
    pub fn new(event: JobEventName, request_id: RequestId, worker: &str) -> Self {
        Self {
            request_id,
            event,
            request_type: RequestType::DEFAULT,
            at: Timestamp::now(),
            run: 0,
            attempt: 1,
            delivery: 1,
            worker: worker.to_owned(),
            started_at: None,
            progress: None,
            message: None,
            error: None,
            next_attempt_at: None,
        }
    }
}

impl JobEventName {
    /// The name as it stands in the body and in the routing key.
    pub fn text(self) -> &'static str {
        match self {
            Self::Started => "request.started",
            Self::Progress => "request.progress",
            Self::Retrying => "request.retrying",
        }
    }

    fn of(text: &str) -> Option<Self> {
        [Self::Started, Self::Progress, Self::Retrying].into_iter().find(|name| name.text() == text)
    }
}

fn one() -> i64 {
    1
}

fn or_one<'de, D: Deserializer<'de>>(field: D) -> Result<i64, D::Error> {
    Ok(Option::deserialize(field)?.unwrap_or_else(one))
}

fn or_now<'de, D: Deserializer<'de>>(field: D) -> Result<Timestamp, D::Error> {
    Ok(Option::deserialize(field)?.unwrap_or_else(Timestamp::now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"{"requestId":1.50,"event":"request.retrying","at":"2023-11-14T22:13:20.123Z","run":1,"attempt":2,"delivery":3,"worker":"h:1/1","startedAt":"2023-11-14T22:13:10.000Z","progress":0.5,"message":"half","error":{"code":"x","message":"y"},"nextAttemptAt":"2023-11-14T22:14:20.000Z"}"#;

    fn body(event: &Event) -> String {
        String::from_utf8(event.message().body).unwrap()
    }

    #[test]
    fn every_field_survives_the_way() {
        let event = Event::parse("request.retrying", FULL.as_bytes()).unwrap().unwrap();
        assert_eq!(body(&event), FULL);
        let message = event.message();
        assert_eq!((&*message.exchange, &*message.routing_key), (topology::EVENTS, event.name()));
        assert_eq!(message.properties.message_id.as_deref(), Some("1.50"));
        assert!(!message.properties.persistent);
    }

    #[test]
    fn a_foreign_worker_needs_only_the_request_id() {
        let read = Event::parse("request.started", br#"{"requestId":"a","mood":[1]}"#);
        let Some(Event::Job(job)) = read.unwrap() else { panic!("no job's event") };
        assert_eq!((job.request_id.text(), job.event), ("a", JobEventName::Started));
        assert_eq!((job.run, job.attempt, job.delivery, &*job.worker), (0, 1, 1, ""));
        assert!(!body(&Event::Job(job)).contains("null"));
        let all = [
            "type",
            "at",
            "run",
            "attempt",
            "delivery",
            "worker",
            "startedAt",
            "progress",
            "message",
            "error",
        ];
        let nulls: String = all.map(|name| format!(r#","{name}":null"#)).concat();
        let read =
            Event::parse("request.started", format!(r#"{{"requestId":"a"{nulls}}}"#).as_bytes());
        let Some(Event::Job(job)) = read.unwrap() else { panic!("no job's event") };
        assert_eq!((job.run, job.attempt, job.delivery, &*job.worker), (0, 1, 1, ""));
    }

    #[test]
    fn progress_with_another_unit_leaves_the_rest_of_the_event() {
        let read = |progress| {
            let body = format!(r#"{{"requestId":"a","progress":{progress},"message":"half"}}"#);
            match Event::parse("request.progress", body.as_bytes()).unwrap() {
                Some(Event::Job(job)) => job,
                other => panic!("{other:?}"),
            }
        };
        let counted = read(r#"{"done":5,"total":20}"#);
        assert!(body(&Event::Job(counted)).contains(r#""progress":{"done":5,"total":20}"#));
        let wrong = read("37");
        assert_eq!((wrong.progress, wrong.message.as_deref()), (None, Some("half")));
    }

    #[test]
    fn unknown_events_are_ignored_and_malformed_ones_are_not_read() {
        assert_eq!(Event::parse("request.sung", b"\xff").unwrap(), None);
        for (key, body) in [
            ("request.started", "{}"),
            ("request.started", r#"{"requestId":null}"#),
            ("request.progress", r#"{"requestId":"a","at":"yesterday"}"#),
            ("requests.finished", r#"["at","requests"]"#),
            ("requests.finished", r#"{"requests":[{"requestId":"a","status":"failed"}]}"#),
        ] {
            let error = Event::parse(key, body.as_bytes()).unwrap_err();
            assert!(error.reason.contains(key), "{error}");
        }
    }

    #[test]
    fn many_finished_requests_make_several_events() {
        let request = FinishedRequest { request_id: Uuid::nil(), status: FinalStatus::Cancelled };
        let at = Timestamp::from_millis(0);
        let events: Vec<_> = Event::finished(at, &vec![request; 501]).collect();
        let id = Uuid::nil();
        let one = format!("{{\"requestId\":\"{id}\",\"status\":\"cancelled\"}}");
        let expected = format!("{{\"at\":\"1970-01-01T00:00:00.000Z\",\"requests\":[{one}]}}");
        assert_eq!((events.len(), body(&events[1])), (2, expected.clone()));
        let read = Event::parse(events[1].name(), expected.as_bytes()).unwrap();
        assert_eq!(read.as_ref(), Some(&events[1]));
        assert_eq!(Event::finished(at, &[]).count(), 0);
    }
}
