//! How a worker fails a request that its work refuses.

use pipeline::{
    contract::headers,
    topology::{KEY_FAILED, KEY_RESULT},
};
use serde_json::Value;

use crate::{
    commands::conformance::{
        checks::{
            asked::{ARRIVAL_TIME, Asked, broken, parked, result_of, settlement},
            kept_headers,
        },
        report::{Report, Verdict},
        rules::Rule,
        stage::{Arrived, Stage},
    },
    exit::Failure,
};

pub(super) async fn failure(
    stage: &mut Stage,
    report: &mut Report,
    data: &str,
) -> Result<(), Failure> {
    let asked = Asked::new(data);
    let from = stage.now();
    stage.publish(asked.properties(stage.kind()), &asked.body).await?;
    let error = stage.until(|_, arrived| result_of(&asked.id, arrived)).await;
    let error = match error {
        Ok(error) => error,
        Err(silence) => return report.add(Rule::Failure, broken("publish an error", silence)),
    };
    let parked = stage.within(ARRIVAL_TIME, |_, arrived| parked(&asked.body, arrived)).await;
    let settled = stage.until(|trace, _| settlement(trace, &asked.body, from)).await.ok();
    let trace = stage.tap.trace();
    let confirmed = [KEY_FAILED, KEY_RESULT].map(|key| {
        trace.published(&asked.id, key, from).and_then(|published| trace.confirmed(published))
    });
    drop(trace);
    for published in parked.iter().chain([&error]) {
        kept_headers::check(report, stage.kind(), published)?;
    }
    report.add(Rule::Failure, failure_verdict(&error, parked.as_ref(), settled, confirmed))
}

fn failure_verdict(
    error: &Arrived,
    parked: Option<&Arrived>,
    settled: Option<(usize, bool)>,
    confirmed: [Option<usize>; 2],
) -> Verdict {
    let body: Value = serde_json::from_slice(&error.body).unwrap_or_default();
    let has_error = body["error"]["code"].is_string() && body["error"]["message"].is_string();
    let seen = if !has_error {
        format!("its result has no error with code and message: {body}")
    } else if parked.is_none() {
        "the request did not come to processing.failed, so it can't be looked at or replayed"
            .to_owned()
    } else if parked.is_some_and(|parked| parked.properties.headers.text(headers::REASON).is_none())
    {
        "the request in processing.failed has no header slowlane-reason".to_owned()
    } else {
        match settled {
            Some((at, true))
                if confirmed.iter().all(|confirm| confirm.is_some_and(|confirm| confirm < at)) =>
            {
                return Verdict::Kept;
            }
            Some((_, true)) => {
                "it acked the request before both messages were confirmed".to_owned()
            }
            _ => "it did not ack the request".to_owned(),
        }
    };
    Verdict::Broken(seen)
}

#[cfg(test)]
mod tests {
    use pipeline::contract::{HeaderValue, Properties};

    use super::*;

    fn arrived(queue: &'static str, body: &str) -> Arrived {
        Arrived { queue, properties: Properties::default(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn a_failure_needs_both_messages_before_the_ack() {
        let error = arrived("", r#"{"requestId":1,"error":{"code":"permanent","message":"no"}}"#);
        let mut parked = arrived("", "");
        let verdict = |parked: Option<&Arrived>, ack, confirmed| {
            failure_verdict(&error, parked, Some((ack, true)), confirmed)
        };
        assert!(matches!(verdict(None, 9, [Some(1), Some(2)]), Verdict::Broken(_)));
        assert!(matches!(verdict(Some(&parked), 9, [Some(1), Some(2)]), Verdict::Broken(_)));
        parked.properties.headers.set(headers::REASON, HeaderValue::Text("permanent".to_owned()));
        assert_eq!(verdict(Some(&parked), 9, [Some(1), Some(2)]), Verdict::Kept);
        assert!(matches!(verdict(Some(&parked), 2, [Some(1), Some(3)]), Verdict::Broken(_)));
        assert!(matches!(verdict(Some(&parked), 9, [None, Some(3)]), Verdict::Broken(_)));
    }
}
