//! The outcome of a job, and the settlement that follows: what is published before the request is acked.

use std::time::{Duration, SystemTime};

use pipeline::contract::{
    ErrorBody, Headers, Message, Outcome, Request, RequestId, ResultMessage, codes, headers,
};
use serde_json::value::RawValue;

use crate::{
    decisions::{
        incoming::IncomingRequest,
        next_attempt::{NextAttempt, next_attempt},
        policy::Policy,
    },
    processor::error::{Cause, ProcessError, Retry},
};

/// How a job ended.
#[derive(Debug)]
pub(crate) enum JobOutcome {
    /// With this result.
    Completed(Box<RawValue>),
    /// With this error, which is permanent.
    Failed(ErrorBody),
    /// With this error, which is transient. The next attempt waits for this delay, or for the one of `RETRY_DELAYS`.
    Retry(ErrorBody, Option<Duration>),
    /// It could not begin on this host, for this reason.
    NotStarted(String),
    /// It was stopped: the request was cancelled.
    Cancelled,
    /// It was stopped: the program is stopping. Or it gives way to others.
    Interrupted,
}

impl From<ProcessError> for JobOutcome {
    fn from(error: ProcessError) -> Self {
        let ProcessError { code, message, retry, cause } = error;
        match cause {
            Cause::Work => {}
            Cause::Host => return Self::NotStarted(message),
            Cause::HandBack => return Self::Interrupted,
        }
        let error = ErrorBody::new(code, message).shortened();
        match retry {
            Retry::Never => Self::Failed(error),
            Retry::Default => Self::Retry(error, None),
            Retry::After(delay) => Self::Retry(error, Some(delay)),
        }
    }
}

/// How to settle a request whose job has ended.
#[derive(Debug)]
pub(crate) enum Settlement {
    /// Publish these in this order, each confirmed, then ack.
    Publish(Vec<Message>),
    /// Publish the next attempt, confirmed, announce it, then ack.
    Retry(Box<NextAttempt>),
    /// Hand the request back, as if it had not been delivered.
    HandBack {
        /// Whether its job has started: then it can't expire any more.
        started: bool,
    },
    /// Ack.
    Ack,
}

/// Which worker processed a request, and when.
#[derive(Debug, Clone)]
pub(crate) struct WorkRecord {
    /// `host:pid/slot`.
    pub(crate) worker: String,
    /// When the job started.
    pub(crate) started: SystemTime,
    /// When the job ended.
    pub(crate) finished: SystemTime,
}

/// Decides how to settle a request after its job.
pub(crate) fn decide(
    id: &RequestId,
    request: IncomingRequest<'_>,
    outcome: JobOutcome,
    record: &WorkRecord,
    policy: &Policy,
) -> Settlement {
    match outcome {
        JobOutcome::Interrupted => Settlement::HandBack { started: true },
        JobOutcome::NotStarted(_) => Settlement::HandBack { started: false },
        JobOutcome::Cancelled => Settlement::Ack,
        JobOutcome::Completed(results) if results.get().len() > policy.result_limit => {
            let error = result_too_large(results.get().len(), policy.result_limit);
            Settlement::Publish(failure(Some(id), request, error, record))
        }
        JobOutcome::Completed(results) => {
            let result = ResultMessage { id: id.clone(), outcome: Outcome::Completed(results) };
            Settlement::Publish(vec![result.message(result_headers(request, record))])
        }
        JobOutcome::Retry(error, delay) if request.attempt() < policy.max_attempts => {
            let next = next_attempt(request, error, delay, record.finished, policy);
            Settlement::Retry(Box::new(next))
        }
        JobOutcome::Retry(error, _) => {
            Settlement::Publish(failure(Some(id), request, after_last_attempt(error), record))
        }
        JobOutcome::Failed(error) => Settlement::Publish(failure(Some(id), request, error, record)),
    }
}

/// The error of a request whose last attempt has failed with this error.
fn after_last_attempt(error: ErrorBody) -> ErrorBody {
    let code = code_of_attempt(&error.code, true).to_owned();
    ErrorBody { code, ..error }
}

/// The code of a failed attempt, for a transient failure with this code: only after the last one it tells that there are no
/// more.
pub(crate) fn code_of_attempt(code: &str, is_last: bool) -> &str {
    match code {
        codes::TRANSIENT if is_last => codes::ATTEMPTS_EXHAUSTED,
        code => code,
    }
}

fn result_too_large(length: usize, limit: usize) -> ErrorBody {
    let message = format!("the result has {length} bytes; the limit is {limit} (RESULT_LIMIT)");
    ErrorBody::new(codes::RESULT_TOO_LARGE, message)
}

/// The messages of a failed request: the request itself with the reason to the failed queue, then the error
/// as its result, if the request has an id.
pub(crate) fn failure(
    id: Option<&RequestId>,
    request: IncomingRequest<'_>,
    error: ErrorBody,
    record: &WorkRecord,
) -> Vec<Message> {
    let IncomingRequest { properties, body, .. } = request;
    let mut failed = Request::failed(properties, body.to_vec(), &error.code, &error.message);
    add_record(&mut failed.properties.headers, request, record);
    let result = id.map(|id| {
        let result = ResultMessage { id: id.clone(), outcome: Outcome::Failed(error) };
        result.message(result_headers(request, record))
    });
    [Some(failed), result].into_iter().flatten().collect()
}

fn result_headers(request: IncomingRequest<'_>, record: &WorkRecord) -> Headers {
    let mut headers = request.properties.headers.to_publish_again();
    headers.set(headers::ATTEMPT, request.attempt());
    add_record(&mut headers, request, record);
    headers
}

/// Adds the type of the request, which worker processed it, when, and in which delivery.
fn add_record(headers: &mut Headers, request: IncomingRequest<'_>, record: &WorkRecord) {
    if let Some(request_type) = request.request_type() {
        headers.set_request_type(&request_type);
    }
    headers.set(headers::DELIVERIES, request.deliveries());
    headers.set(headers::WORKER, record.worker.as_str());
    headers.set(headers::STARTED_AT, headers::moment(record.started));
    headers.set(headers::FINISHED_AT, headers::moment(record.finished));
}

#[cfg(test)]
mod tests {
    use pipeline::{contract::Properties, topology::RetryDelays};

    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const BODY: &[u8] = b"{\"requestId\":\"me\",\"requestData\":1}";
    const LIMIT: usize = 10;

    /// The settlement of a second attempt at a traced request.
    fn settlement(outcome: JobOutcome) -> Settlement {
        settlement_with(3, outcome)
    }

    /// The same, with this MAX_ATTEMPTS.
    fn settlement_with(attempts: i64, outcome: JobOutcome) -> Settlement {
        let id = Request::parse(BODY).unwrap().id;
        let mut properties = Properties::json("request", &id);
        properties.headers.set(headers::TRACEPARENT, TRACE);
        properties.headers.set(headers::ATTEMPT, 2);
        let started = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        let finished = started + std::time::Duration::from_millis(1500);
        let record = WorkRecord { worker: "host:1/1".to_owned(), started, finished };
        let request = incoming(&properties, BODY);
        decide(&id, request, outcome, &record, &policy(attempts))
    }

    fn incoming<'a>(properties: &'a Properties, body: &'a [u8]) -> IncomingRequest<'a> {
        IncomingRequest { routing_key: "request", properties, body, redelivered: false }
    }

    fn policy(max_attempts: i64) -> Policy {
        let retry_delays = RetryDelays::new([5, 1].map(Duration::from_secs).to_vec()).unwrap();
        Policy { max_attempts, max_deliveries: 5, retry_delays, result_limit: LIMIT }
    }

    fn json(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn published<const COUNT: usize>(outcome: JobOutcome) -> [Message; COUNT] {
        let Settlement::Publish(messages) = settlement(outcome) else {
            panic!("nothing is published")
        };
        messages.try_into().unwrap()
    }

    /// The message tells the worker, the time, the attempt and the trace.
    fn has_record(message: &Message) {
        let headers = &message.properties.headers;
        assert_eq!(headers.text(headers::WORKER), Some("host:1/1"));
        assert_eq!(headers::milliseconds(headers), Some(1500));
        assert_eq!(headers.number(headers::ATTEMPT), Some(2));
        assert_eq!(headers.text(headers::TRACEPARENT), Some(TRACE));
        assert!(message.properties.persistent);
        assert_eq!(message.properties.message_id.as_deref(), Some("me"));
    }

    /// The request itself comes first, with the reason, then its error result.
    fn fails_with(outcome: JobOutcome, code: &str) {
        let [failed, result] = published(outcome);
        has_record(&failed);
        assert_eq!((failed.routing_key.as_str(), failed.body.as_slice()), ("failed", BODY));
        assert_eq!(failed.properties.headers.text(headers::REASON), Some(code));
        has_record(&result);
        assert_eq!(result.routing_key, "result");
        let outcome = ResultMessage::parse(&result.body).unwrap().outcome;
        assert!(matches!(outcome, Outcome::Failed(error) if error.code == code));
    }

    #[test]
    fn a_completed_job_becomes_a_result() {
        let longest = format!("\"{}\"", "x".repeat(LIMIT - 2));
        let [result] = published(JobOutcome::Completed(json(&longest)));
        has_record(&result);
        assert_eq!(result.routing_key, "result");
        let expected = format!("{{\"requestId\":\"me\",\"processingResults\":{longest}}}");
        assert_eq!(String::from_utf8(result.body).unwrap(), expected);
    }

    #[test]
    fn a_result_over_the_limit_becomes_an_error() {
        let too_long = format!("\"{}\"", "x".repeat(LIMIT - 1));
        fails_with(JobOutcome::Completed(json(&too_long)), codes::RESULT_TOO_LARGE);
    }

    #[test]
    fn a_failed_job_becomes_an_error_and_a_message_for_the_failed_queue() {
        fails_with(JobOutcome::Failed(ErrorBody::new("teapot", "no coffee")), "teapot");
    }

    #[test]
    fn a_very_long_error_is_shortened() {
        let long = "ü".repeat(100_000);
        for retry in [Retry::Never, Retry::Default] {
            let error = ProcessError { retry, ..ProcessError::transient(&*long).with_code(&long) };
            let (JobOutcome::Failed(error) | JobOutcome::Retry(error, _)) = error.into() else {
                panic!()
            };
            assert_eq!(error.code.len(), ErrorBody::MAX_CODE_BYTES);
            assert!(error.message.len() <= ErrorBody::MAX_MESSAGE_BYTES);
            assert!(error.message.len() > ErrorBody::MAX_MESSAGE_BYTES - 10);
        }
    }

    #[test]
    fn an_interrupted_job_is_handed_back() {
        let interrupted = settlement(JobOutcome::Interrupted);
        assert!(matches!(interrupted, Settlement::HandBack { started: true }), "{interrupted:?}");
        let not_started = settlement(JobOutcome::NotStarted("no memory".to_owned()));
        assert!(matches!(not_started, Settlement::HandBack { started: false }), "it may expire");
    }

    #[test]
    fn a_cancelled_job_is_acked() {
        assert!(matches!(settlement(JobOutcome::Cancelled), Settlement::Ack));
    }

    fn transient() -> ErrorBody {
        ErrorBody::new(codes::TRANSIENT, "not now")
    }

    #[test]
    fn the_last_attempt_fails_for_good_and_only_then_the_attempts_are_exhausted() {
        let own = ErrorBody::new("teapot", "not now");
        for (error, code) in [(transient(), codes::ATTEMPTS_EXHAUSTED), (own, "teapot")] {
            let Settlement::Retry(next) = settlement(JobOutcome::Retry(error.clone(), None)) else {
                panic!("there is another attempt")
            };
            assert_eq!(next.error, error);
            let last = settlement_with(2, JobOutcome::Retry(error, Some(Duration::ZERO)));
            let Settlement::Publish(messages) = last else { panic!("not yet") };
            let reason = messages[0].properties.headers.text(headers::REASON);
            assert_eq!(reason, Some(code));
            let outcome = ResultMessage::parse(&messages[1].body).unwrap().outcome;
            let expected = ErrorBody::new(code, "not now");
            assert!(matches!(outcome, Outcome::Failed(error) if error == expected));
        }
    }

    #[test]
    fn a_failed_request_without_an_id_has_no_result() {
        let now = SystemTime::now();
        let record = WorkRecord { worker: "host:1/1".to_owned(), started: now, finished: now };
        let error = ErrorBody::new(codes::MALFORMED, "it is empty");
        let nothing = Properties::default();
        let messages = failure(None, incoming(&nothing, b""), error, &record);
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].routing_key, "failed");
    }
}
