//! The headers that a worker copies from a request to what it publishes for it.

use pipeline::{
    contract::{
        Headers, TraceParent,
        headers::{ATTEMPT, RUN, TRACEPARENT, TYPE},
    },
    topology::RequestType,
};

use crate::{
    commands::conformance::{
        report::{Report, Verdict},
        rules::Rule,
        stage::Arrived,
    },
    exit::Failure,
};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// The headers of each request of the check. A worker that makes up the numbers would take others.
pub(super) fn of_request(kind: &RequestType) -> Headers {
    let mut headers = Headers::default();
    headers.set(ATTEMPT, 2);
    headers.set(RUN, 1);
    headers.set_request_type(kind);
    headers.set(TRACEPARENT, TRACE);
    headers
}

/// Reports a message of the worker that lacks a header of its request.
pub(super) fn check(
    report: &mut Report,
    kind: &RequestType,
    published: &Arrived,
) -> Result<(), Failure> {
    let lost = lost(&of_request(kind), &published.properties.headers);
    if lost.is_empty() {
        return Ok(());
    }
    let (lost, queue) = (lost.join(", "), published.queue);
    let seen = format!("what it published to {queue} does not have {lost} of the request");
    report.add(Rule::Headers, Verdict::Broken(seen))
}

/// Which headers differ. A worker may send spans of its own, so only the id of the trace counts, and it may name the
/// default type.
fn lost(sent: &Headers, published: &Headers) -> Vec<&'static str> {
    let trace = |of: &Headers| {
        let parsed = of.text(TRACEPARENT).and_then(TraceParent::parse);
        parsed.map(|trace| trace.trace_id().to_owned())
    };
    let kind = |of: &Headers| of.request_type().unwrap_or_default();
    let kept = [
        (ATTEMPT, sent.number(ATTEMPT) == published.number(ATTEMPT)),
        (RUN, sent.number(RUN) == published.number(RUN)),
        (TYPE, kind(sent) == kind(published)),
        (TRACEPARENT, trace(sent) == trace(published)),
    ];
    kept.into_iter().filter(|(_, is_kept)| !is_kept).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video() -> RequestType {
        "video".parse().unwrap()
    }

    #[test]
    fn each_header_of_the_request_is_missed() {
        for name in [ATTEMPT, RUN, TYPE, TRACEPARENT] {
            let mut published = of_request(&video());
            assert_eq!(lost(&of_request(&video()), &published), [""; 0]);
            published.remove(name);
            assert_eq!(lost(&of_request(&video()), &published), [name]);
        }
    }

    #[test]
    fn a_worker_may_send_spans_and_texts_in_place_of_numbers_and_name_the_default_type() {
        let sent = of_request(&RequestType::DEFAULT);
        let mut published = sent.clone();
        published.set(TYPE, "default");
        published.set(ATTEMPT, "2");
        published.set(TRACEPARENT, TraceParent::parse(TRACE).unwrap().child(7).as_str());
        assert_eq!(lost(&sent, &published), [""; 0]);
    }
}
