//! The checks: has the worker process requests, be killed, cut off and sent what is no request, and judges what was seen.

mod asked;
mod content;
mod expiry;
mod failure;
mod kept_headers;
mod malformed;
mod nesting;

use std::time::Duration;

use pipeline::{
    contract::{HeaderValue, Properties},
    topology::{self, KEY_RESULT},
};
use serde_json::{Value, json};
use uuid::Uuid;

use self::{
    asked::{ARRIVAL_TIME, Asked, broken, result, result_of, settlement},
    content::{TEXT, report_text},
};
use super::{
    report::{Report, Verdict},
    rules::Rule,
    stage::{Arrived, Silence, Stage},
    trace::{Trace, What},
};
use crate::exit::Failure;

/// How long a confirm is kept back, to see whether the worker waits for it.
const HOLD_TIME: Duration = Duration::from_secs(1);

/// Checks all rules that can be. Returns why the others were not.
pub(super) async fn run(
    stage: &mut Stage,
    refused_data: Option<&str>,
    report: &mut Report,
) -> Result<&'static str, Failure> {
    if !consumes(stage, report).await? {
        return Ok("the worker does not consume");
    }
    if !first_result(stage, report).await? {
        return Ok("there was no result");
    }
    content::content(stage, report).await?;
    ids(stage, report).await?;
    unknown_fields(stage, report).await?;
    match refused_data {
        Some(data) => failure::failure(stage, report, data).await?,
        None => {
            let reason = "name data that the work refuses: --refused JSON";
            report.add(Rule::Failure, Verdict::NotChecked(reason.to_owned()))?;
        }
    }
    expiry::expiry(stage, report).await?;
    report.add(Rule::Headers, Verdict::Kept)?;
    malformed::malformed(stage, report).await?;
    nesting::nesting(stage, report).await?;
    reconnects(stage, report).await?;
    Ok("")
}

async fn consumes(stage: &mut Stage, report: &mut Report) -> Result<bool, Failure> {
    let wanted = stage.queue();
    let is_it = |what: &What| matches!(what, What::Consume { queue, .. } if *queue == wanted);
    let subscription = |trace: &Trace| trace.subscription().map(|seen| seen.what.clone());
    let subscribed = stage.until(|trace, _| subscription(trace).filter(is_it)).await;
    let (verdict, goes_on) = match subscribed {
        Ok(What::Consume { is_acked_by_hand: false, .. }) => {
            let seen =
                "it consumes with no-ack: the broker forgets each request as soon as it is sent";
            (Verdict::Broken(seen.to_owned()), true)
        }
        Ok(_) => (Verdict::Kept, true),
        Err(silence) => (broken(&format!("consume {wanted}"), silence), false),
    };
    report.add(Rule::Consumes, verdict)?;
    Ok(goes_on)
}

/// Has two requests wait, keeps the confirm of the first result back, and kills the worker before it comes.
async fn first_result(stage: &mut Stage, report: &mut Report) -> Result<bool, Failure> {
    stage.tap.hold_confirms(true);
    let [first, second] = [TEXT, "second"].map(|text| Asked::new(&json!(text).to_string()));
    for asked in [&first, &second] {
        stage.publish(asked.properties(stage.kind()), &asked.body).await?;
    }
    let published = stage.until(|trace, _| trace.published(&first.id, KEY_RESULT, 0)).await;
    let published = match published {
        Ok(published) => published,
        Err(silence) => {
            report.add(Rule::Result, broken("publish a result for a text", silence))?;
            return Ok(false);
        }
    };
    let settled = stage.within(HOLD_TIME, |trace, _| settlement(trace, &first.body, 0)).await;
    let arrived = stage.within(ARRIVAL_TIME, |_, arrived| result_of(&first.id, arrived)).await;
    judge_result(stage, report, published, arrived.as_ref())?;
    report.add(Rule::AckAfterConfirm, ack_verdict(settled, published))?;
    report.add(Rule::Prefetch, prefetch_verdict(stage.tap.trace().most_in_hand()))?;
    if let Some(arrived) = arrived {
        report_text(report, &arrived)?;
    }
    let killed = stage.now();
    stage.worker.start_again().await.map_err(anyhow::Error::new)?;
    stage.tap.hold_confirms(false);
    let is_done = |asked: &Asked, trace: &Trace| {
        trace.published(&asked.id, KEY_RESULT, killed)?;
        settlement(trace, &asked.body, killed)
    };
    let verdict = match settled {
        Some(_) => Verdict::NotChecked("it had acked the request before it was killed".to_owned()),
        None => match stage.until(|trace, _| is_done(&first, trace)).await {
            Ok(_) => Verdict::Kept,
            Err(silence) => broken("publish the result again and ack", silence),
        },
    };
    report.add(Rule::Redelivery, verdict)?;
    let second = stage.until(|trace, _| trace.published(&second.id, KEY_RESULT, 0)).await;
    let redelivery = second.map_err(|silence| broken("work on the request that waited", silence));
    if let Err(verdict) = redelivery {
        report.add(Rule::Reconnects, verdict)?;
        return Ok(false);
    }
    Ok(true)
}

/// Judges how the result was published that stands here in the trace.
fn judge_result(
    stage: &Stage,
    report: &mut Report,
    published: usize,
    arrived: Option<&Arrived>,
) -> Result<(), Failure> {
    let trace = stage.tap.trace();
    let has_confirms = trace.has_confirms(published);
    let What::Published { exchange, is_mandatory, body, .. } = &trace.0[published].what else {
        return Ok(());
    };
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let wrong = if exchange != topology::EXCHANGE {
        Some(format!("it published it to {exchange:?}, not to processing"))
    } else if !is_mandatory {
        Some("it published it without mandatory: where no queue takes it, it is lost".to_owned())
    } else if body.get("processingResults").is_none() {
        Some(format!("its result has no processingResults: {body}"))
    } else if arrived.is_none_or(|arrived| !arrived.properties.persistent) {
        Some(
            "its result is not persistent (delivery_mode 2): a restart of the broker loses it"
                .to_owned(),
        )
    } else {
        None
    };
    drop(trace);
    report.add(Rule::Result, wrong.map_or(Verdict::Kept, Verdict::Broken))?;
    let confirms = match has_confirms {
        true => Verdict::Kept,
        false => {
            Verdict::Broken("there was no confirm.select on the channel of the result".to_owned())
        }
    };
    report.add(Rule::Confirms, confirms)
}

fn ack_verdict(settled: Option<(usize, bool)>, published: usize) -> Verdict {
    let seen = match settled {
        None => return Verdict::Kept,
        Some((_, false)) => "it rejected the request although it had published the result",
        Some((at, true)) if at < published => {
            "it acked the request before it published the result: if it dies in between, the request is lost"
        }
        Some(_) => {
            "it acked the request before the broker had confirmed the result: if that is lost, so is the request"
        }
    };
    Verdict::Broken(seen.to_owned())
}

fn prefetch_verdict(most: usize) -> Verdict {
    match most {
        0 | 1 => Verdict::Kept,
        most => Verdict::Broken(format!(
            "it had {most} requests in hand, so others wait behind the one it works on"
        )),
    }
}

async fn ids(stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    for id in [json!("Bestellung №7 / \"ä\""), json!(9_007_199_254_740_993_u64)] {
        let asked = Asked::with_id(id, "\"hello\"");
        if let Err(silence) = result(stage, &asked).await? {
            let what = format!("publish a result for the requestId {}", asked.id);
            return report.add(Rule::Ids, broken(&what, silence));
        }
    }
    report.add(Rule::Ids, Verdict::Kept)
}

async fn unknown_fields(stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    let id = json!(Uuid::new_v4());
    let body = format!(
        "{{\"future\":{{\"a\":[1]}},\"requestData\":\"hello\",\"requestId\":{id},\"version\":2}}"
    );
    let asked = Asked { id, body: body.into_bytes() };
    let mut properties = Properties::default();
    properties.headers.set("slowlane-future", HeaderValue::Text("unknown".to_owned()));
    properties.headers.set("count", HeaderValue::Number(3));
    stage.publish(properties, &asked.body).await?;
    let verdict = match stage.until(|_, arrived| result_of(&asked.id, arrived)).await {
        Ok(_) => Verdict::Kept,
        Err(silence) => broken("publish a result", silence),
    };
    report.add(Rule::UnknownFields, verdict)
}

async fn reconnects(stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    let cut = stage.now();
    stage.tap.cut();
    let is_back =
        |trace: &Trace| Trace(trace.0[cut..].to_vec()).subscription().is_some().then_some(());
    match stage.until(|trace, _| is_back(trace)).await {
        Ok(()) => {}
        // Whoever runs it starts it again.
        Err(Silence::Ended(_)) => stage.worker.start_again().await.map_err(anyhow::Error::new)?,
        Err(silence @ Silence::TimedOut(_)) => {
            return report
                .add(Rule::Reconnects, broken("consume again, although it runs", silence));
        }
    }
    let verdict = match result(stage, &Asked::new("\"hello\"")).await? {
        Ok(_) => Verdict::Kept,
        Err(silence) => broken("publish a result after that", silence),
    };
    report.add(Rule::Reconnects, verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_counts_by_what_was_before_it() {
        assert_eq!(ack_verdict(None, 5), Verdict::Kept);
        for (settled, expected) in [
            ((3, true), "before it published"),
            ((6, true), "before the broker had confirmed"),
            ((6, false), "rejected"),
        ] {
            let Verdict::Broken(seen) = ack_verdict(Some(settled), 5) else {
                panic!("{settled:?}")
            };
            assert!(seen.contains(expected), "{seen}");
        }
    }
}
