//! What messages say, in the store's terms.

use pipeline::{
    contract::{
        ErrorBody, HeaderValue, Headers, Outcome, Properties, Request, ResultMessage, Timestamp,
        codes, headers,
    },
    topology,
};
use uuid::Uuid;

use store::{Parked, ResultOutcome, Status, WorkerResult};

/// What a message on the failed queue is.
#[derive(Debug, PartialEq)]
pub enum Dead {
    /// A result that the broker gave up delivering: still a result.
    Result(WorkerResult),
    /// Something to keep.
    Letter(Parked),
}

/// A result in the store's terms; none if its id is not a UUID, so that no row can be its own.
pub fn ending(result: &ResultMessage, headers: &Headers) -> Option<WorkerResult> {
    let ending = with_headers(result.id.uuid()?, end(&result.outcome), headers);
    // A success counts whatever its run; a failure whose worker does not say is of the present one, or
    // the request would never end after a replay.
    let said = run(headers);
    let is_success = ending.end.status() == Status::Completed;
    Some(if is_success { ending } else { WorkerResult { run: said, ..ending } })
}

/// An outcome in the store's terms.
pub fn end(outcome: &Outcome) -> ResultOutcome {
    match outcome {
        Outcome::Completed(results) => ResultOutcome::Completed(results.get().as_bytes().into()),
        Outcome::Failed(error) => ResultOutcome::Failed(error.clone()),
    }
}

/// What came to the failed queue, in the store's terms.
pub fn dead(properties: &Properties, body: &[u8], at: Timestamp) -> Dead {
    let headers = &properties.headers;
    // With a reason of ours it was judged before, and is not the result it looks like.
    if headers.text(headers::REASON).is_none()
        && let Some(ending) =
            ResultMessage::parse(body).ok().and_then(|result| ending(&result, headers))
    {
        return Dead::Result(ending);
    }
    let (reason, error) = why(headers);
    let failed = || ResultOutcome::Failed(ErrorBody::new(&reason, &error));
    let ends = whose(properties, body).map(|id| with_headers(id, failed(), headers));
    Dead::Letter(Parked {
        body: body.to_vec(),
        headers: own_headers(headers),
        reason,
        error,
        received_at: at,
        ends,
    })
}

/// ParkedFilter message it is: as the body says, or else, if nothing can be read there, the properties; none
/// if that is not a UUID.
fn whose(properties: &Properties, body: &[u8]) -> Option<Uuid> {
    let id = Request::parse(body).map_or_else(|malformed| malformed.id, |request| Some(request.id));
    if let Some(id) = id {
        return id.uuid();
    }
    let beside = [&properties.correlation_id, &properties.message_id].into_iter().flatten();
    beside.filter_map(|id| Uuid::try_parse(id).ok()).next()
}

/// Why a message was handed over: what a program of ours says, else what the broker says.
fn why(headers: &Headers) -> (String, String) {
    if let Some(reason) = headers.text(headers::REASON) {
        let error = headers.text(headers::ERROR).unwrap_or_default();
        return (reason.to_owned(), error.to_owned());
    }
    let (last, first) = (headers::LAST_DEATH_REASON, headers::FIRST_DEATH_REASON);
    let reason = headers.text(last).or_else(|| headers.text(first));
    let (code, error) = match reason {
        Some("expired") if has_waited(headers) => (
            codes::PERMANENT,
            "the broker gave the message up after it had waited for its next attempt, and does not say why",
        ),
        Some("delivery_limit") => (
            codes::DELIVERY_LIMIT,
            "the broker gave the message up: whoever it was delivered to lost the connection or handed it back, too often",
        ),
        Some("expired") => {
            (codes::EXPIRED, "the message's time to live was over before anybody took it")
        }
        Some("rejected") => (codes::PERMANENT, "a worker rejected the message"),
        Some(_) => (codes::PERMANENT, "the broker could not keep the message in its queue"),
        None => (codes::PERMANENT, "the message was handed over without a reason"),
    };
    (code.to_owned(), error.to_owned())
}

/// Whether the queue that the message was last taken out of is one where requests wait for their next
/// attempt: their time there is meant to be over.
fn has_waited(headers: &Headers) -> bool {
    let (last, first) = (headers::LAST_DEATH_QUEUE, headers::FIRST_DEATH_QUEUE);
    let queue = headers.text(last).or_else(|| headers.text(first));
    queue.is_some_and(|queue| queue.starts_with(topology::RETRY))
}

/// Our own headers as a JSON object, to be kept with a message.
fn own_headers(headers: &Headers) -> String {
    let kept = headers.to_publish_again();
    let value = |value: &HeaderValue| match value {
        HeaderValue::Text(text) => serde_json::Value::from(text.as_str()),
        HeaderValue::Number(number) => (*number).into(),
        HeaderValue::Other => serde_json::Value::Null,
    };
    let object: serde_json::Map<_, _> =
        kept.iter().map(|(name, header)| (name.to_owned(), value(header))).collect();
    serde_json::Value::Object(object).to_string()
}

fn with_headers(id: Uuid, end: ResultOutcome, headers: &Headers) -> WorkerResult {
    let number = |name| number(headers, name);
    WorkerResult {
        id,
        end,
        run: Some(run(headers).unwrap_or(0)),
        attempt: number(headers::ATTEMPT).unwrap_or(1).max(1),
        deliveries: number(headers::DELIVERIES).unwrap_or(1).max(1),
        worker: headers.text(headers::WORKER).map(str::to_owned),
        started_at: moment(headers, headers::STARTED_AT),
        finished_at: moment(headers, headers::FINISHED_AT),
    }
}

/// The run that a message says it is of.
fn run(headers: &Headers) -> Option<u32> {
    number(headers, headers::RUN)
}

fn number(headers: &Headers, name: &str) -> Option<u32> {
    headers.number(name).and_then(|number| u32::try_from(number).ok())
}

fn moment(headers: &Headers, name: &str) -> Option<Timestamp> {
    headers::time(headers, name).map(Timestamp::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01a1fd87-448c-755a-a380-a6f598ec5ae1";

    fn headers(of: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::default();
        of.iter().for_each(|(name, value)| headers.set(name, *value));
        headers
    }

    fn properties(of: &[(&str, &str)]) -> Properties {
        Properties { headers: headers(of), ..Properties::default() }
    }

    fn letter(of: &[(&str, &str)], body: &str) -> Parked {
        match dead(&properties(of), body.as_bytes(), Timestamp::from_millis(7)) {
            Dead::Letter(parked) => parked,
            Dead::Result(_) => panic!("{body} is no letter"),
        }
    }

    #[test]
    fn a_result_that_the_broker_gave_up_is_still_a_result() {
        let body = format!(r#"{{"requestId":"{ID}","processingResults":1}}"#);
        let given_up = properties(&[("x-first-death-reason", "delivery_limit")]);
        let Dead::Result(ending) = dead(&given_up, body.as_bytes(), Timestamp::from_millis(7))
        else {
            panic!()
        };
        assert_eq!(ending.end, ResultOutcome::Completed(b"1".as_slice().into()));
        let parked = letter(&[("slowlane-reason", "malformed")], &body);
        assert_eq!(
            parked.ends.unwrap().end,
            ResultOutcome::Failed(ErrorBody::new("malformed", ""))
        );
    }

    #[test]
    fn only_a_failure_may_be_of_a_run_that_is_not_known() {
        let run = |rest: &str, of: &[(&str, &str)]| {
            let body = format!(r#"{{"requestId":"{ID}",{rest}}}"#);
            let result = ResultMessage::parse(body.as_bytes()).unwrap();
            ending(&result, &headers(of)).unwrap().run
        };
        let failure = r#""error":{"code":"x","message":""}"#;
        let said = [("slowlane-run", "3")];
        assert_eq!((run(failure, &[]), run(failure, &said)), (None, Some(3)));
        let success = r#""processingResults":1"#;
        assert_eq!((run(success, &[]), run(success, &said)), (Some(0), Some(3)));
        assert_eq!(letter(&[], "").ends, None);
    }

    #[test]
    fn the_reason_is_ours_or_else_the_brokers() {
        let request = format!(r#"{{"requestId":"{ID}","requestData":1}}"#);
        for (name, value, code) in [
            ("slowlane-reason", "teapot", "teapot"),
            ("x-first-death-reason", "delivery_limit", "delivery_limit"),
            ("x-first-death-reason", "expired", "expired"),
            ("x-first-death-reason", "rejected", "permanent"),
            ("x-other", "", "permanent"),
        ] {
            let parked = letter(&[(name, value), ("slowlane-run", "2")], &request);
            let ends = parked.ends.unwrap();
            assert_eq!((parked.reason.as_str(), ends.run), (code, Some(2)));
            assert_eq!(ends.end.error().unwrap().code, code);
        }
    }

    #[test]
    fn what_has_waited_for_its_next_attempt_has_not_expired() {
        let first =
            [("x-first-death-reason", "expired"), ("x-first-death-queue", "processing.retry.1000")];
        let reason = |last: &[(&str, &str)]| letter(&[&first, last].concat(), "").reason;
        let queue = ("x-last-death-queue", "processing.requests");
        assert_eq!(reason(&[("x-last-death-reason", "delivery_limit"), queue]), "delivery_limit");
        assert_eq!(reason(&[("x-last-death-reason", "rejected"), queue]), "permanent");
        assert_eq!(reason(&[("x-last-death-reason", "expired"), queue]), "expired");
        assert_eq!(reason(&[]), "permanent", "an old broker says no more");
    }

    #[test]
    fn whose_body_can_not_be_read_is_told_by_the_properties() {
        let other = "01a1fd87-448c-755a-a380-000000000000";
        let whose = |correlation: Option<&str>, message: Option<&str>, body: &str| {
            let [correlation_id, message_id] = [correlation, message].map(|id| id.map(Into::into));
            let beside = Properties { correlation_id, message_id, ..properties(&[]) };
            crate::consumers::from_message::whose(&beside, body.as_bytes()).map(|id| id.to_string())
        };
        for unreadable in ["", "{\"requestData\":1}", "{\"requestId\":{},\"requestData\":1}"] {
            assert_eq!(whose(Some(ID), Some(other), unreadable).as_deref(), Some(ID));
            assert_eq!(whose(Some("mine"), Some(ID), unreadable).as_deref(), Some(ID));
            assert_eq!(whose(None, Some("7"), unreadable), None);
        }
        let readable = format!("{{\"requestId\":\"{ID}\"}}");
        assert_eq!(whose(Some(other), Some(other), &readable).as_deref(), Some(ID));
        assert_eq!(whose(Some(ID), Some(ID), "{\"requestId\":\"me\"}"), None);
    }

    #[test]
    fn what_belongs_to_no_request_is_kept_all_the_same() {
        for body in ["", "nonsense", r#"{"requestId":"me","requestData":1}"#] {
            let parked = letter(&[("slowlane-worker", "a:1/1"), ("x-death", "y")], body);
            assert_eq!((parked.ends, parked.body.as_slice()), (None, body.as_bytes()));
            assert_eq!(parked.headers, r#"{"slowlane-worker":"a:1/1"}"#);
        }
    }
}
