//! From messages to rows: parses results and failed-queue messages into what the store takes.

use pipeline::{
    contract::{
        ErrorBody, HeaderValue, Headers, Outcome, Properties, Request, ResultMessage, Timestamp,
        codes, headers,
    },
    topology::{self, RequestType},
};
use uuid::Uuid;

use store::{NewParked, ResultOutcome, WorkerResult};

/// What a message on the failed queue is.
#[derive(Debug, PartialEq)]
pub(crate) enum FailedQueueMessage {
    /// A result that the broker gave up delivering: it is still the result.
    Result(WorkerResult),
    /// A message to park.
    Parked(NewParked),
}

/// A result in the store's terms; none if its id is not a UUID, since then it has no row.
pub(crate) fn worker_result(message: &ResultMessage, headers: &Headers) -> Option<WorkerResult> {
    Some(with_headers(message.id.uuid()?, result_outcome(&message.outcome), headers))
}

/// An outcome in the store's terms.
pub(crate) fn result_outcome(outcome: &Outcome) -> ResultOutcome {
    match outcome {
        Outcome::Completed(results) => ResultOutcome::Completed(results.get().as_bytes().into()),
        Outcome::Failed(error) => ResultOutcome::Failed(error.clone()),
    }
}

/// Parses a message of the failed queue.
pub(crate) fn parse_failed_queue_message(
    properties: &Properties,
    body: &[u8],
) -> FailedQueueMessage {
    let headers = &properties.headers;
    // What has a reason of ours was found not to be a result, even if it looks like one.
    if headers.text(headers::REASON).is_none()
        && let Some(result) =
            ResultMessage::parse(body).ok().and_then(|message| worker_result(&message, headers))
    {
        return FailedQueueMessage::Result(result);
    }
    let (reason, error) = reason_and_error(headers);
    let failed = || ResultOutcome::Failed(ErrorBody::new(&reason, &error));
    let ends = request_id(properties, body).map(|id| with_headers(id, failed(), headers));
    let mut kept = headers.to_publish_again();
    kept.set_request_type(&request_type(headers));
    FailedQueueMessage::Parked(NewParked {
        body: body.to_vec(),
        headers: json(&kept),
        reason,
        error,
        result: ends,
    })
}

/// The request that a message belongs to: the id in the body, also if the rest of it can't be read, or else in
/// the properties. None if that is not a UUID.
fn request_id(properties: &Properties, body: &[u8]) -> Option<Uuid> {
    let id = Request::parse(body).map_or_else(|malformed| malformed.id, |request| Some(request.id));
    if let Some(id) = id {
        return id.uuid();
    }
    let ids = [&properties.correlation_id, &properties.message_id].into_iter().flatten();
    ids.filter_map(|id| Uuid::try_parse(id).ok()).next()
}

/// The type of a request: that of the queue which gave it up, or else as its message names it.
pub(crate) fn request_type(headers: &Headers) -> RequestType {
    let (last, first) = (headers::LAST_DEATH_QUEUE, headers::FIRST_DEATH_QUEUE);
    let queue = headers.text(last).or_else(|| headers.text(first));
    let of_queue = queue.and_then(RequestType::of_queue);
    of_queue.or_else(|| headers.request_type()).unwrap_or_default()
}

/// Why a message came to the failed queue: what a program of ours says, else what the broker says.
fn reason_and_error(headers: &Headers) -> (String, String) {
    if let Some(reason) = headers.text(headers::REASON) {
        let error = headers.text(headers::ERROR).unwrap_or_default();
        return (reason.to_owned(), error.to_owned());
    }
    let (last, first) = (headers::LAST_DEATH_REASON, headers::FIRST_DEATH_REASON);
    let reason = headers.text(last).or_else(|| headers.text(first));
    let (code, error) = match reason {
        Some("expired") if has_waited(headers) => (
            codes::PERMANENT,
            "the broker dead-lettered the message after its retry delay, without a reason",
        ),
        Some("delivery_limit") => (
            codes::DELIVERY_LIMIT,
            "the delivery limit of the queue was exceeded: consumers lost the connection or requeued the message too often",
        ),
        Some("expired") => (
            codes::EXPIRED,
            "the message's time to live (TTL) was over before a consumer received it",
        ),
        Some("rejected") => (codes::PERMANENT, "a worker rejected the message"),
        Some(_) => (codes::PERMANENT, "the broker dropped the message from its queue"),
        None => {
            (codes::PERMANENT, "the message was published to the failed queue without a reason")
        }
    };
    (code.to_owned(), error.to_owned())
}

/// Whether the last queue that dead-lettered the message is one where requests wait for their next attempt.
/// They are meant to expire there.
fn has_waited(headers: &Headers) -> bool {
    let (last, first) = (headers::LAST_DEATH_QUEUE, headers::FIRST_DEATH_QUEUE);
    let queue = headers.text(last).or_else(|| headers.text(first));
    queue.is_some_and(|queue| queue.starts_with(topology::RETRY))
}

/// Headers as a JSON object.
fn json(headers: &Headers) -> String {
    let value = |value: &HeaderValue| match value {
        HeaderValue::Text(text) => serde_json::Value::from(text.as_str()),
        HeaderValue::Number(number) => (*number).into(),
        HeaderValue::Other => serde_json::Value::Null,
    };
    let object: serde_json::Map<_, _> =
        headers.iter().map(|(name, header)| (name.to_owned(), value(header))).collect();
    serde_json::Value::Object(object).to_string()
}

fn with_headers(id: Uuid, end: ResultOutcome, headers: &Headers) -> WorkerResult {
    let number = |name| number(headers, name);
    WorkerResult {
        id,
        request_type: request_type(headers),
        outcome: end,
        run: number(headers::RUN),
        attempt: number(headers::ATTEMPT).unwrap_or(1).max(1),
        deliveries: number(headers::DELIVERIES).unwrap_or(1).max(1),
        worker: headers.text(headers::WORKER).map(str::to_owned),
        started_at: time(headers, headers::STARTED_AT),
        finished_at: time(headers, headers::FINISHED_AT),
    }
}

fn number(headers: &Headers, name: &str) -> Option<u32> {
    headers.number(name).and_then(|number| u32::try_from(number).ok())
}

fn time(headers: &Headers, name: &str) -> Option<Timestamp> {
    headers::time(headers, name).map(Timestamp::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01a1fd87-448c-755a-a380-a6f598ec5ae1";

    fn headers(of: &[(&'static str, &str)]) -> Headers {
        let mut headers = Headers::default();
        of.iter().for_each(|(name, value)| headers.set(*name, *value));
        headers
    }

    fn properties(of: &[(&'static str, &str)]) -> Properties {
        Properties { headers: headers(of), ..Properties::default() }
    }

    fn parked(of: &[(&'static str, &str)], body: &str) -> NewParked {
        match parse_failed_queue_message(&properties(of), body.as_bytes()) {
            FailedQueueMessage::Parked(parked) => parked,
            FailedQueueMessage::Result(_) => panic!("{body} is a result"),
        }
    }

    #[test]
    fn a_dead_lettered_result_is_still_a_result() {
        let body = format!(r#"{{"requestId":"{ID}","processingResults":1}}"#);
        let given_up = properties(&[("x-first-death-reason", "delivery_limit")]);
        let FailedQueueMessage::Result(result) =
            parse_failed_queue_message(&given_up, body.as_bytes())
        else {
            panic!()
        };
        assert_eq!(result.outcome, ResultOutcome::Completed(b"1".as_slice().into()));
        let parked = parked(&[("slowlane-reason", "malformed")], &body);
        assert_eq!(
            parked.result.unwrap().outcome,
            ResultOutcome::Failed(ErrorBody::new("malformed", ""))
        );
    }

    #[test]
    fn a_result_may_leave_its_run_open() {
        let run = |rest: &str, of: &[(&'static str, &str)]| {
            let body = format!(r#"{{"requestId":"{ID}",{rest}}}"#);
            let result = ResultMessage::parse(body.as_bytes()).unwrap();
            worker_result(&result, &headers(of)).unwrap().run
        };
        let failure = r#""error":{"code":"x","message":""}"#;
        let said = [("slowlane-run", "3")];
        assert_eq!((run(failure, &[]), run(failure, &said)), (None, Some(3)));
        let success = r#""processingResults":1"#;
        assert_eq!((run(success, &[]), run(success, &said)), (None, Some(3)));
        assert_eq!(parked(&[], "").result, None);
        let malformed = format!(r#"{{"requestId":"{ID}","result":1}}"#);
        let parked = parked(&[("slowlane-reason", "malformed")], &malformed);
        assert_eq!(parked.result.unwrap().run, None);
    }

    #[test]
    fn the_reason_is_ours_or_the_brokers() {
        let request = format!(r#"{{"requestId":"{ID}","requestData":1}}"#);
        for (name, value, code) in [
            ("slowlane-reason", "teapot", "teapot"),
            ("x-first-death-reason", "delivery_limit", "delivery_limit"),
            ("x-first-death-reason", "expired", "expired"),
            ("x-first-death-reason", "rejected", "permanent"),
            ("x-other", "", "permanent"),
        ] {
            let parked = parked(&[(name, value), ("slowlane-run", "2")], &request);
            let ends = parked.result.unwrap();
            assert_eq!((parked.reason.as_str(), ends.run), (code, Some(2)));
            assert_eq!(ends.outcome.error().unwrap().code, code);
        }
    }

    #[test]
    fn a_request_that_waited_for_a_retry_has_not_expired() {
        let first =
            [("x-first-death-reason", "expired"), ("x-first-death-queue", "processing.retry.1000")];
        let reason = |last: &[(&'static str, &str)]| parked(&[&first, last].concat(), "").reason;
        let queue = ("x-last-death-queue", "processing.requests");
        assert_eq!(reason(&[("x-last-death-reason", "delivery_limit"), queue]), "delivery_limit");
        assert_eq!(reason(&[("x-last-death-reason", "rejected"), queue]), "permanent");
        assert_eq!(reason(&[("x-last-death-reason", "expired"), queue]), "expired");
        assert_eq!(reason(&[]), "permanent", "brokers before 3.13 tell only the first one");
    }

    #[test]
    fn an_unreadable_body_leaves_the_id_to_the_properties() {
        let other = "01a1fd87-448c-755a-a380-000000000000";
        let request_id = |correlation: Option<&str>, message: Option<&str>, body: &str| {
            let [correlation_id, message_id] = [correlation, message].map(|id| id.map(Into::into));
            let beside = Properties { correlation_id, message_id, ..properties(&[]) };
            super::request_id(&beside, body.as_bytes()).map(|id| id.to_string())
        };
        for unreadable in ["", "{\"requestData\":1}", "{\"requestId\":{},\"requestData\":1}"] {
            assert_eq!(request_id(Some(ID), Some(other), unreadable).as_deref(), Some(ID));
            assert_eq!(request_id(Some("mine"), Some(ID), unreadable).as_deref(), Some(ID));
            assert_eq!(request_id(None, Some("7"), unreadable), None);
        }
        for readable in [
            format!("{{\"requestId\":\"{ID}\"}}"),
            format!("{{\"requestId\":\"{ID}\",\"processingResults\":NaN}}"),
            format!("{{\"requestId\":\"{ID}\",\"processingResults\":{{\"a\":"),
        ] {
            assert_eq!(request_id(Some(other), Some(other), &readable).as_deref(), Some(ID));
        }
        assert_eq!(request_id(Some(ID), Some(ID), "{\"requestId\":\"me\"}"), None);
    }

    #[test]
    fn a_message_without_a_request_is_parked() {
        for body in ["", "nonsense", r#"{"requestId":"me","requestData":1}"#] {
            let parked = parked(&[("slowlane-worker", "a:1/1"), ("x-death", "y")], body);
            assert_eq!((parked.result, parked.body.as_slice()), (None, body.as_bytes()));
            assert_eq!(parked.headers, r#"{"slowlane-worker":"a:1/1"}"#);
        }
    }
}
