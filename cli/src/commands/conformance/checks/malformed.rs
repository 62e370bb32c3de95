//! How a worker takes messages that are no requests.

use pipeline::contract::Properties;

use crate::{
    commands::conformance::{
        checks::asked::{ARRIVAL_TIME, Asked, broken, parked, result, settlement},
        report::{Report, Verdict},
        rules::Rule,
        stage::{Silence, Stage},
    },
    exit::Failure,
};

/// After so many deliveries a message is taken to circle for ever.
const MAX_JUNK_DELIVERIES: usize = 3;

/// More than fits into a frame (128 KiB): an error that quotes it is too long for a header.
const LONG: usize = 200 << 10;

/// What is no request.
const JUNK: [(&str, &[u8]); 7] = [
    ("an empty body", b""),
    ("a body that is no JSON", b"{\"requestId\": oops"),
    ("a body that is no UTF-8", b"{\"requestId\":\"\xff\xfe\",\"requestData\":1}"),
    ("a list instead of an object", b"[1,2,3]"),
    ("a request without requestId", b"{\"requestData\":\"hello\"}"),
    ("a text of 200 KiB instead of an object", &quoted()),
    ("200 KiB that are no UTF-8", &[0xFF; LONG]),
];

const fn quoted() -> [u8; LONG] {
    let mut text = [b'x'; LONG];
    (text[0], text[LONG - 1]) = (b'"', b'"');
    text
}

pub(super) async fn malformed(stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    for (what, body) in JUNK {
        if let Some(verdict) = after_junk(stage, what, body).await? {
            report.add(Rule::Malformed, verdict)?;
            // The other checks go on without the message.
            return stage.start_over().await;
        }
    }
    let asked = Asked::new("\"hello\"");
    let verdict = match result(stage, &asked).await? {
        Ok(_) => Verdict::Kept,
        Err(silence) => broken("publish a result for the next request", silence),
    };
    report.add(Rule::Malformed, verdict)
}

/// What is wrong with how the worker takes a message that is no request.
async fn after_junk(
    stage: &mut Stage,
    what: &str,
    body: &[u8],
) -> Result<Option<Verdict>, Failure> {
    let from = stage.now();
    stage.publish(Properties { persistent: true, ..Properties::default() }, body).await?;
    let settled = stage.until(|trace, arrived| {
        let circles = trace.deliveries(body) > MAX_JUNK_DELIVERIES;
        let moved = parked(body, arrived).is_some();
        (circles || moved || settlement(trace, body, from).is_some_and(|(_, is_ack)| is_ack))
            .then_some(circles)
    });
    let seen = match settled.await {
        Ok(true) => "it requeued it again and again".to_owned(),
        Ok(false) => {
            let moved = stage.within(ARRIVAL_TIME, |_, arrived| parked(body, arrived)).await;
            match moved {
                Some(_) => return Ok(None),
                None => "it acked it, and it is nowhere".to_owned(),
            }
        }
        Err(Silence::Ended(status)) => format!("it ended with {status}"),
        Err(Silence::TimedOut(_)) => "it neither acked nor rejected it".to_owned(),
    };
    Ok(Some(Verdict::Broken(format!("it was sent {what}: {seen}"))))
}
