//! What the end of a job means: which messages go out before the request is let go of. Pure
//! decisions; [`crate::worker`] carries them out.

use std::time::{Duration, SystemTime};

use pipeline::contract::{
    ErrorBody, Headers, Message, Outcome as Ended, Request, RequestId, ResultMessage, codes,
    headers,
};
use serde_json::value::RawValue;

use crate::{Again, ProcessError, receipt::Policy, received::Received};

/// What the messages name as their maker.
pub const PROGRAM: &str = "processor-service";

/// The longest pause that work may ask for.
const LONGEST_WISH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The longest code of an error, in bytes.
const LONGEST_CODE: usize = 200;
/// The longest message of an error, in bytes. It is for people; and one that the broker refuses for its
/// length would never be delivered.
const LONGEST_MESSAGE: usize = 64 * 1024;

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
        let ProcessError { mut code, mut message, again } = error;
        code.truncate(code.floor_char_boundary(LONGEST_CODE));
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
        let error = ErrorBody::new(code, message);
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
    /// Publish this for the next attempt, confirmed, tell of it, then ack.
    TryAgain(Box<TryAgain>),
    /// Give the request back, as if it had not been delivered.
    HandBack,
    /// Ack.
    Forget,
}

/// The next attempt at a request.
#[derive(Debug)]
pub struct TryAgain {
    /// The request, on its way through a waiting queue.
    pub message: Message,
    /// Why this attempt failed.
    pub error: ErrorBody,
    /// When the next one begins at the earliest.
    pub at: SystemTime,
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

/// Decides what becomes of a request after its job.
pub fn decide(
    id: &RequestId,
    received: Received<'_>,
    outcome: Outcome,
    work: &Work,
    policy: &Policy,
) -> Decision {
    let limit = policy.result_limit;
    match outcome {
        Outcome::Interrupted => Decision::HandBack,
        Outcome::Cancelled => Decision::Forget,
        Outcome::Done(results) if results.get().len() > limit => {
            let length = results.get().len();
            let message =
                format!("the result has {length} bytes, at most {limit} are taken (RESULT_LIMIT)");
            let error = ErrorBody::new(codes::RESULT_TOO_LARGE, message);
            Decision::Publish(failure(Some(id), received, error, work))
        }
        Outcome::Done(results) => {
            let result = ResultMessage { id: id.clone(), outcome: Ended::Completed(results) };
            Decision::Publish(vec![result.message(result_headers(received, work))])
        }
        Outcome::Retry(error, asked) if received.attempt() < policy.attempts => {
            let next = next_attempt(received, error, asked, work.finished, policy);
            Decision::TryAgain(Box::new(next))
        }
        Outcome::Failed(error) | Outcome::Retry(error, _) => {
            Decision::Publish(failure(Some(id), received, error, work))
        }
    }
}

/// The next attempt: after the usual pause, or as late as was asked. What is asked beyond the longest
/// pause is written on the message.
fn next_attempt(
    received: Received<'_>,
    error: ErrorBody,
    asked: Option<Duration>,
    now: SystemTime,
    policy: &Policy,
) -> TryAgain {
    let wanted = match asked {
        None => policy.delays.after(received.attempt()),
        Some(asked) => asked.min(LONGEST_WISH),
    };
    let delay = policy.delays.reaching(wanted);
    let not_before = (wanted > delay).then(|| now + wanted);
    let message = received.tried_again(delay, not_before);
    TryAgain { message, error, at: now + delay.max(wanted) }
}

/// What goes out for a request that failed: the request itself with the reason to the failed
/// queue, then the error to its owner, if it says who that is.
pub fn failure(
    id: Option<&RequestId>,
    received: Received<'_>,
    error: ErrorBody,
    work: &Work,
) -> Vec<Message> {
    let Received { properties, body, .. } = received;
    let mut kept = Request::failed(properties, body.to_vec(), &error.code, &error.message);
    sign(&mut kept.properties.headers, received, work);
    let result = id.map(|id| {
        let result = ResultMessage { id: id.clone(), outcome: Ended::Failed(error) };
        result.message(result_headers(received, work))
    });
    [Some(kept), result].into_iter().flatten().collect()
}

fn result_headers(received: Received<'_>, work: &Work) -> Headers {
    let mut headers = received.properties.headers.to_publish_again();
    headers.set(headers::ATTEMPT, received.attempt());
    sign(&mut headers, received, work);
    headers
}

/// Says who did the work, when, and in which delivery.
fn sign(headers: &mut Headers, received: Received<'_>, work: &Work) {
    headers.set(headers::DELIVERIES, received.deliveries());
    headers.set(headers::WORKER, work.worker.as_str());
    headers.set(headers::STARTED_AT, headers::moment(work.started));
    headers.set(headers::FINISHED_AT, headers::moment(work.finished));
}

#[cfg(test)]
mod tests {
    use pipeline::{contract::Properties, topology::RetryDelays};

    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const BODY: &[u8] = b"{\"requestId\":\"me\",\"requestData\":1}";
    const LIMIT: usize = 10;

    /// What becomes of a second attempt at a traced request.
    fn decided(outcome: Outcome) -> Decision {
        decided_of(3, outcome)
    }

    /// The same, where so many attempts are made.
    fn decided_of(attempts: i64, outcome: Outcome) -> Decision {
        let id = Request::parse(BODY).unwrap().id;
        let mut properties = Properties::json("request", &id);
        properties.headers.set(headers::TRACEPARENT, TRACE);
        properties.headers.set(headers::ATTEMPT, 2);
        let started = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        let finished = started + std::time::Duration::from_millis(1500);
        let work = Work { worker: "host:1/1".to_owned(), started, finished };
        let received = received(&properties, BODY);
        decide(&id, received, outcome, &work, &policy(attempts))
    }

    fn received<'a>(properties: &'a Properties, body: &'a [u8]) -> Received<'a> {
        Received { routing_key: "request", properties, body, redelivered: false }
    }

    fn policy(attempts: i64) -> Policy {
        let delays = RetryDelays::new([5, 1].map(Duration::from_secs).to_vec()).unwrap();
        Policy { attempts, deliveries: 5, delays, result_limit: LIMIT }
    }

    fn json(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn published<const COUNT: usize>(outcome: Outcome) -> [Message; COUNT] {
        let Decision::Publish(messages) = decided(outcome) else { panic!("nothing goes out") };
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
    fn of_a_very_long_error_the_beginning_is_told() {
        let long = "ü".repeat(100_000);
        for again in [Again::Never, Again::Later] {
            let error = ProcessError { code: long.clone(), message: long.clone(), again };
            let (Outcome::Failed(error) | Outcome::Retry(error, _)) = error.into() else {
                panic!()
            };
            assert_eq!((error.code.len(), error.message.len()), (LONGEST_CODE, LONGEST_MESSAGE));
        }
    }

    #[test]
    fn what_was_interrupted_goes_back() {
        assert!(matches!(decided(Outcome::Interrupted), Decision::HandBack));
    }

    #[test]
    fn what_nobody_wants_is_forgotten() {
        assert!(matches!(decided(Outcome::Cancelled), Decision::Forget));
    }

    fn may_pass() -> ErrorBody {
        ErrorBody::new(codes::ATTEMPTS_EXHAUSTED, "not now")
    }

    /// The pause in seconds until the second attempt is repeated, the queue it waits in, and
    /// whether it may have to go round once more.
    fn tried_again(asked: Option<u64>) -> (u64, String, bool) {
        let outcome = Outcome::Retry(may_pass(), asked.map(Duration::from_secs));
        let Decision::TryAgain(again) = decided(outcome) else { panic!("it isn't tried again") };
        let finished = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_001_500);
        let headers = &again.message.properties.headers;
        assert_eq!(headers.number(headers::ATTEMPT), Some(3));
        let not_before = headers::time(headers, headers::NOT_BEFORE);
        assert!(not_before.is_none_or(|at| at == again.at));
        let pause = again.at.duration_since(finished).unwrap().as_secs();
        (pause, again.message.exchange.into_owned(), not_before.is_some())
    }

    #[test]
    fn what_may_pass_is_tried_again_after_its_pause_or_the_one_that_is_asked() {
        let queue = |millis: u64| format!("processing.retry.{millis}");
        assert_eq!(tried_again(None), (1, queue(1000), false));
        assert_eq!(tried_again(Some(0)), (1, queue(1000), false));
        assert_eq!(tried_again(Some(4)), (5, queue(5000), false));
        assert_eq!(tried_again(Some(6)), (6, queue(5000), true));
        let month = LONGEST_WISH.as_secs();
        assert_eq!(tried_again(Some(u64::MAX)), (month, queue(5000), true));
    }

    #[test]
    fn the_last_attempt_is_the_last() {
        let outcome = Outcome::Retry(may_pass(), Some(Duration::ZERO));
        let Decision::Publish(messages) = decided_of(2, outcome) else { panic!("not yet") };
        let said = ResultMessage::parse(&messages[1].body).unwrap().outcome;
        assert!(matches!(said, Ended::Failed(error) if error == may_pass()));
    }

    #[test]
    fn the_failure_of_nobodys_request_is_kept_and_told_to_nobody() {
        let now = SystemTime::now();
        let work = Work { worker: "host:1/1".to_owned(), started: now, finished: now };
        let error = ErrorBody::new(codes::MALFORMED, "it is empty");
        let nothing = Properties::default();
        let messages = failure(None, received(&nothing, b""), error, &work);
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].routing_key, "failed");
    }
}
