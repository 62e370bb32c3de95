//! How a worker takes a request that has expired.

use pipeline::contract::{codes, headers};
use serde_json::Value;

use crate::{
    commands::conformance::{
        checks::{
            asked::{ARRIVAL_TIME, Asked, broken, parked, result_of},
            kept_headers,
        },
        report::{Report, Verdict},
        rules::Rule,
        stage::{Arrived, Stage},
    },
    exit::Failure,
};

/// Long ago, for a clock that is wrong, too.
const EXPIRED_AT: &str = "2020-01-01T00:00:00.000Z";

/// Sends a request that has expired. The worker has to fail it.
pub(super) async fn expiry(stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    let asked = Asked::new("\"hello\"");
    let mut properties = asked.properties(stage.kind());
    properties.headers.set(headers::EXPIRES_AT, EXPIRED_AT);
    stage.publish(properties, &asked.body).await?;
    let result = match stage.until(|_, arrived| result_of(&asked.id, arrived)).await {
        Ok(result) => result,
        Err(silence) => return report.add(Rule::Expiry, broken("publish an error", silence)),
    };
    let parked = stage.within(ARRIVAL_TIME, |_, arrived| parked(&asked.body, arrived)).await;
    for published in parked.iter().chain([&result]) {
        kept_headers::check(report, stage.kind(), published)?;
    }
    report.add(Rule::Expiry, verdict(&result, parked.as_ref()))
}

fn verdict(result: &Arrived, parked: Option<&Arrived>) -> Verdict {
    let body: Value = serde_json::from_slice(&result.body).unwrap_or_default();
    let reason = parked.map(|parked| parked.properties.headers.text(headers::REASON));
    let seen = if body["error"].is_null() {
        format!("it worked on a request whose slowlane-expires-at was {EXPIRED_AT}")
    } else if body["error"]["code"] != codes::EXPIRED {
        format!("the code of its error is not {}: {body}", codes::EXPIRED)
    } else if reason != Some(Some(codes::EXPIRED)) {
        format!("the request is not in processing.failed with the reason {}", codes::EXPIRED)
    } else {
        return Verdict::Kept;
    };
    Verdict::Broken(seen)
}

#[cfg(test)]
mod tests {
    use pipeline::contract::{HeaderValue, Properties};

    use super::*;

    fn arrived(body: &str) -> Arrived {
        Arrived { queue: "", properties: Properties::default(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn a_request_that_has_expired_fails_with_that_code_and_that_reason() {
        let result = |outcome: &str| arrived(&format!("{{\"requestId\":1,{outcome}}}"));
        let expired = result(r#""error":{"code":"expired","message":"too late"}"#);
        let other = result(r#""error":{"code":"permanent","message":"too late"}"#);
        let mut parked = arrived("");
        assert!(matches!(verdict(&expired, Some(&parked)), Verdict::Broken(_)));
        parked.properties.headers.set(headers::REASON, HeaderValue::Text("expired".to_owned()));
        assert_eq!(verdict(&expired, Some(&parked)), Verdict::Kept);
        for wrong in [&other, &result("\"processingResults\":\"hello\"")] {
            assert!(matches!(verdict(wrong, Some(&parked)), Verdict::Broken(_)), "{wrong:?}");
        }
        assert!(matches!(verdict(&expired, None), Verdict::Broken(_)));
    }
}
