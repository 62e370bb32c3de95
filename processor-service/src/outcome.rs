//! What the end of a job means: which messages go out before the request is let go of. Pure
//! decisions; [`crate::worker`] carries them out.

use std::time::{Duration, SystemTime};

use pipeline::contract::{
    ErrorBody, Headers, Message, Outcome as Ended, Properties, Request, RequestId, ResultMessage,
    codes, headers,
};
use serde_json::value::RawValue;

use crate::{Again, ProcessError};

/// What the messages name as their maker.
pub const NAME: &str = "processor-service";

/// How a job ended.
#[derive(Debug)]
pub enum Outcome {
    /// With this result.
    Done(Box<RawValue>),
    /// With this error; trying again would not help.
    Failed(ErrorBody),
    /// With this error, which may pass; to be tried again, and not before so long if that is asked.
    Retry(ErrorBody, Option<Duration>),
    /// It did not end: nobody wants it any more.
    Cancelled,
    /// It did not end: the program is stopping.
    Interrupted,
}

impl From<ProcessError> for Outcome {
    fn from(error: ProcessError) -> Self {
        let again = error.again;
        let error = ErrorBody::new(error.code, error.message);
        match again {
            Again::Never => Self::Failed(error),
            Again::Later => Self::Retry(error, None),
            Again::After(delay) => Self::Retry(error, Some(delay)),
        }
    }
}

/// What to do with the request.
#[derive(Debug)]
pub enum Decision {
    /// Publish these in this order, each confirmed, then ack.
    Publish(Vec<Message>),
    /// Give the request back to the queue.
    HandBack,
}

/// Who worked on a request, and when.
#[derive(Debug, Clone)]
pub struct Work {
    /// `host:pid/slot`.
    pub worker: String,
    /// When the work began.
    pub started: SystemTime,
    /// When the work ended.
    pub finished: SystemTime,
}

/// Decides what becomes of a request after its job. `properties` and `body` are those of its
/// message, `limit` is the longest result in bytes.
pub fn decide(
    id: &RequestId,
    properties: &Properties,
    body: &[u8],
    outcome: Outcome,
    work: &Work,
    limit: usize,
) -> Decision {
    match outcome {
        Outcome::Interrupted | Outcome::Cancelled => Decision::HandBack,
        Outcome::Done(results) if results.get().len() > limit => {
            let length = results.get().len();
            let message =
                format!("the result has {length} bytes, at most {limit} are taken (RESULT_LIMIT)");
            let error = ErrorBody::new(codes::RESULT_TOO_LARGE, message);
            Decision::Publish(failure(Some(id), properties, body, error, work))
        }
        Outcome::Done(results) => {
            let result = ResultMessage { id: id.clone(), outcome: Ended::Completed(results) };
            Decision::Publish(vec![result.message(NAME, result_headers(properties, work))])
        }
        Outcome::Failed(error) | Outcome::Retry(error, _) => {
            Decision::Publish(failure(Some(id), properties, body, error, work))
        }
    }
}

/// What goes out for a request that failed: the request itself with the reason to the failed
/// queue, then the error to its owner, if it says who that is.
pub fn failure(
    id: Option<&RequestId>,
    properties: &Properties,
    body: &[u8],
    error: ErrorBody,
    work: &Work,
) -> Vec<Message> {
    let mut kept = Request::failed(NAME, properties, body.to_vec(), &error.code, &error.message);
    sign(&mut kept.properties.headers, work);
    let result = id.map(|id| {
        let result = ResultMessage { id: id.clone(), outcome: Ended::Failed(error) };
        result.message(NAME, result_headers(properties, work))
    });
    [Some(kept), result].into_iter().flatten().collect()
}

/// When it was too late to begin with the request, if it is too late now.
pub fn expired(properties: &Properties, now: SystemTime) -> Option<String> {
    let at = headers::time(&properties.headers, headers::EXPIRES_AT)?;
    (at <= now).then(|| headers::moment(at))
}

/// Which attempt a request is, from 1; foreign producers need not say.
pub fn attempt(properties: &Properties) -> i64 {
    properties.headers.number(headers::ATTEMPT).unwrap_or(1).max(1)
}

/// Which run a request belongs to, from 0.
pub fn run(properties: &Properties) -> i64 {
    properties.headers.number(headers::RUN).unwrap_or(0).max(0)
}

/// Which delivery of its message this is, from 1, as far as it was counted: by the broker, and by
/// those who published the message again.
pub fn delivery(properties: &Properties) -> i64 {
    let count = |name| properties.headers.number(name).unwrap_or(0).clamp(0, i64::from(u32::MAX));
    count(headers::DELIVERIES) + count(headers::DELIVERY_COUNT) + 1
}

fn result_headers(request: &Properties, work: &Work) -> Headers {
    let mut headers = request.headers.to_publish_again();
    headers.set(headers::ATTEMPT, attempt(request));
    sign(&mut headers, work);
    headers
}

/// Says who did the work, and when.
fn sign(headers: &mut Headers, work: &Work) {
    headers.set(headers::WORKER, work.worker.as_str());
    headers.set(headers::STARTED_AT, headers::moment(work.started));
    headers.set(headers::FINISHED_AT, headers::moment(work.finished));
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const BODY: &[u8] = b"{\"requestId\":\"me\",\"requestData\":1}";
    const LIMIT: usize = 10;

    /// What becomes of a second attempt at a traced request.
    fn decided(outcome: Outcome) -> Decision {
        let id = Request::parse(BODY).unwrap().id;
        let mut properties = Properties::json("request", "somebody", &id);
        properties.headers.set(headers::TRACEPARENT, TRACE);
        properties.headers.set(headers::ATTEMPT, 2);
        let started = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        let finished = started + std::time::Duration::from_millis(1500);
        let work = Work { worker: "host:1/1".to_owned(), started, finished };
        decide(&id, &properties, BODY, outcome, &work, LIMIT)
    }

    fn json(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn published<const COUNT: usize>(outcome: Outcome) -> [Message; COUNT] {
        let Decision::Publish(messages) = decided(outcome) else { panic!("it goes back") };
        messages.try_into().unwrap()
    }

    /// Who worked on it, for how long, in which attempt, and for which trace.
    fn is_signed(message: &Message) {
        let signed = &message.properties.headers;
        assert_eq!(signed.text(headers::WORKER), Some("host:1/1"));
        assert_eq!(headers::milliseconds(signed), Some(1500));
        assert_eq!(signed.number(headers::ATTEMPT), Some(2));
        assert_eq!(signed.text(headers::TRACEPARENT), Some(TRACE));
        assert!(message.properties.persistent);
        assert_eq!(message.properties.message_id.as_deref(), Some("me"));
    }

    /// The request itself comes first, with the reason, and then its error.
    fn fails_with(outcome: Outcome, code: &str) {
        let [kept, result] = published(outcome);
        is_signed(&kept);
        assert_eq!((kept.routing_key.as_str(), kept.body.as_slice()), ("failed", BODY));
        assert_eq!(kept.properties.headers.text(headers::REASON), Some(code));
        is_signed(&result);
        assert_eq!(result.routing_key, "result");
        let said = ResultMessage::parse(&result.body).unwrap().outcome;
        assert!(matches!(said, Ended::Failed(error) if error.code == code));
    }

    #[test]
    fn work_that_is_done_becomes_a_result() {
        let longest = format!("\"{}\"", "x".repeat(LIMIT - 2));
        let [result] = published(Outcome::Done(json(&longest)));
        is_signed(&result);
        assert_eq!(result.routing_key, "result");
        let expected = format!("{{\"requestId\":\"me\",\"processingResults\":{longest}}}");
        assert_eq!(String::from_utf8(result.body).unwrap(), expected);
    }

    #[test]
    fn a_result_that_is_too_long_becomes_an_error() {
        let too_long = format!("\"{}\"", "x".repeat(LIMIT - 1));
        fails_with(Outcome::Done(json(&too_long)), codes::RESULT_TOO_LARGE);
    }

    #[test]
    fn work_that_fails_becomes_an_error_and_the_request_is_kept() {
        fails_with(Outcome::Failed(ErrorBody::new("teapot", "no coffee")), "teapot");
    }

    #[test]
    fn what_was_interrupted_goes_back() {
        assert!(matches!(decided(Outcome::Interrupted), Decision::HandBack));
    }

    #[test]
    fn the_failure_of_nobodys_request_is_kept_and_told_to_nobody() {
        let now = SystemTime::now();
        let work = Work { worker: "host:1/1".to_owned(), started: now, finished: now };
        let error = ErrorBody::new(codes::MALFORMED, "it is empty");
        let messages = failure(None, &Properties::default(), b"", error, &work);
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].routing_key, "failed");
    }

    #[test]
    fn a_request_expires_at_its_time_and_not_before() {
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        let mut properties = Properties::default();
        assert_eq!(expired(&properties, at), None);
        properties.headers.set(headers::EXPIRES_AT, headers::moment(at));
        assert!(expired(&properties, at).is_some());
        assert_eq!(expired(&properties, at - std::time::Duration::from_millis(1)), None);
        properties.headers.set(headers::EXPIRES_AT, "soon");
        assert_eq!(expired(&properties, at), None);
    }

    #[test]
    fn deliveries_are_counted_over_all_copies_of_a_message() {
        let mut properties = Properties::default();
        assert_eq!((run(&properties), attempt(&properties), delivery(&properties)), (0, 1, 1));
        properties.headers.set(headers::DELIVERY_COUNT, 2);
        properties.headers.set(headers::DELIVERIES, "3");
        assert_eq!(delivery(&properties), 6);
        properties.headers.set(headers::DELIVERIES, i64::MAX);
        properties.headers.set(headers::DELIVERY_COUNT, -1);
        assert!(delivery(&properties) > 1);
    }
}
