//! `PROCESSOR=http` end to end: an endpoint does the work, fails, hangs, goes down and comes back.

mod down;

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use pipeline::log_messages::STOPPING;
use serde_json::{Value, json};
use testbed::{
    Program,
    process::{WAIT_TIMEOUT, json_message},
    program::Running,
};

use crate::support::{
    endpoint::{Endpoint, Reply},
    faulty::began,
    http_call::Call,
    stack::{Stack, Web},
};

/// A processor whose work this endpoint does, with one attempt.
fn processor(stack: &Stack, endpoint: &Endpoint) -> Program {
    let program = stack.program("processor-service").env("PROCESSOR", "http");
    program.env("PROCESSOR_URL", endpoint.url()).env("MAX_ATTEMPTS", "1")
}

/// A web service and a processor whose endpoint answers like this.
async fn working(
    work: impl Fn(&Call, usize) -> Reply + Send + Sync + 'static,
) -> Result<(Stack, Web, Endpoint, Running)> {
    let (stack, endpoint) = (Stack::fresh().await?, Endpoint::start(work).await?);
    let program = processor(&stack, &endpoint);
    let (web, running) = tokio::try_join!(stack.web(), stack.start_processor(program, 1, "1h"))?;
    Ok((stack, web, endpoint, running))
}

/// What a request ends as.
async fn end_of(web: &Web, data: &str) -> Result<Value> {
    let id = web.accepted_json(data).await?;
    web.ended(&id).await
}

fn error(ended: &Value) -> (&str, &str) {
    let text = |name: &str| ended["error"][name].as_str().unwrap_or_default();
    (text("code"), text("message"))
}

#[tokio::test]
async fn an_endpoint_does_the_work() -> Result<()> {
    let (_stack, web, endpoint, processor) = working(|call, _| Reply::json(&call.body)).await?;
    let data = r#"{ "b":12345678901234567890.10,  "a":"\u00fc" }"#;
    let id = web.accepted_json(data).await?;
    assert_eq!(web.ended(&id).await?["status"], "completed");
    let answer = web.ask(&id, 0).await?.text().await?;
    ensure!(answer.contains(data), "{answer}");
    let calls = endpoint.calls(1).await?;
    let [call] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!((call.path.as_str(), call.body.as_str()), ("/work?key=s3cret", data));
    let header = |name: &str| call.headers[name].as_str();
    assert_eq!([header("slowlane-request-id"), header("idempotency-key")], [id.as_str(); 2]);
    assert_eq!([header("content-type"), header("slowlane-attempt")], ["application/json", "1"]);
    assert_eq!(header("slowlane-type"), "default");
    let trace = id.replace('-', "");
    ensure!(header("traceparent").starts_with(&format!("00-{trace}-")), "{call:?}");
    let deadline = humantime::parse_rfc3339(header("slowlane-deadline"))?;
    ensure!(deadline > SystemTime::now() + Duration::from_secs(20 * 60), "{call:?}");
    ensure!(!processor.lines().join("").contains("s3cret"), "the log shows a secret");
    Ok(())
}

#[tokio::test]
async fn the_status_says_how_a_request_ends() -> Result<()> {
    let (_stack, web, _endpoint, _processor) = working(|call, _| match call.body.as_str() {
        "1" => Reply::With(
            "422 Unprocessable Content",
            "Content-Type: application/problem+json\r\n".to_owned(),
            br#"{"title": "Bad", "detail": "no such customer"}"#.to_vec(),
        ),
        "2" => Reply::status("400 Bad Request", "too old\n"),
        "3" => Reply::with_header("302 Found", "Location: /elsewhere"),
        "4" => Reply::status("500 Oh", "no disk"),
        "5" => Reply::status("204 No Content", ""),
        _ => Reply::status("200 OK", "done\n"),
    })
    .await?;
    for (data, code, message) in [
        ("1", "permanent", "answered 422 Unprocessable Entity: no such customer"),
        ("2", "permanent", "answered 400 Bad Request: too old"),
        ("3", "permanent", "redirects to /elsewhere; redirects are not followed"),
        ("4", "attempts_exhausted", "answered 500 Internal Server Error: no disk"),
    ] {
        let ended = end_of(&web, data).await?;
        ensure!(error(&ended).0 == code && error(&ended).1.contains(message), "{ended}");
    }
    assert_eq!(end_of(&web, "5").await?["processingResults"], Value::Null);
    assert_eq!(end_of(&web, "6").await?["processingResults"], "done");
    Ok(())
}

#[tokio::test]
async fn the_endpoint_says_when_to_come_again() -> Result<()> {
    let (stack, endpoint) = (
        Stack::fresh().await?,
        Endpoint::start(|_, before| match before {
            0 => Reply::with_header("429 Too Many Requests", "Retry-After: 3"),
            1 => {
                let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(5));
                Reply::with_header("503 Busy", &format!("Retry-After: {date}"))
            }
            _ => Reply::json("1"),
        })
        .await?,
    );
    let program = processor(&stack, &endpoint).env("MAX_ATTEMPTS", "3");
    let (web, processor) = tokio::try_join!(stack.web(), stack.start_processor(program, 1, "1h"))?;
    let ended = end_of(&web, "1").await?;
    assert_eq!((&ended["status"], &ended["attempts"]), (&json!("completed"), &json!(3)));
    let calls = endpoint.calls(3).await?;
    let attempts: Vec<_> = calls.iter().map(|call| &call.headers["slowlane-attempt"]).collect();
    assert_eq!(attempts, ["1", "2", "3"]);
    let next = processor.lines().into_iter().filter_map(|line| {
        let scheduled = json_message(&line, pipeline::log_messages::RETRY_SCHEDULED)?;
        humantime::parse_rfc3339(scheduled["nextAttemptAt"].as_str()?).ok()
    });
    let began = began(&processor, ended["requestId"].as_str().context("an id")?)?;
    let delays = next.zip(began).map(|(next, began)| next.duration_since(began));
    let delays: Vec<_> = delays.collect::<Result<_, _>>()?;
    // The only waiting queue is one of 1 s; it is passed through several times.
    ensure!(delays.len() == 2 && delays.iter().all(|delay| delay.as_secs() >= 3), "{delays:?}");
    Ok(())
}

#[tokio::test]
async fn a_call_whose_time_is_over_is_broken_off() -> Result<()> {
    let (stack, endpoint) = (Stack::fresh().await?, Endpoint::start(|_, _| Reply::Hang).await?);
    let program = processor(&stack, &endpoint).env("JOB_TIMEOUT", "2s");
    let (web, _processor) = tokio::try_join!(stack.web(), stack.start_processor(program, 1, "1h"))?;
    let ended = end_of(&web, "1").await?;
    assert_eq!(error(&ended).0, "timeout", "{ended}");
    endpoint.broken_off(1).await
}

#[tokio::test]
async fn a_call_for_a_request_that_was_cancelled_is_broken_off() -> Result<()> {
    let (_stack, web, endpoint, _processor) = working(|call, _| match call.body.as_str() {
        "1" => Reply::Hang,
        _ => Reply::json("2"),
    })
    .await?;
    let id = web.accepted_json("1").await?;
    endpoint.calls(1).await?;
    web.delete(&id).await?;
    endpoint.broken_off(1).await?;
    assert_eq!(end_of(&web, "2").await?["processingResults"], 2);
    Ok(())
}

#[tokio::test]
async fn the_work_of_a_worker_that_is_killed_is_begun_again() -> Result<()> {
    let (stack, web, endpoint, victim) = working(|_, before| match before {
        0 => Reply::Hang,
        _ => Reply::json("\"done\""),
    })
    .await?;
    let id = web.accepted_json("1").await?;
    endpoint.calls(1).await?;
    victim.kill();
    endpoint.broken_off(1).await?;
    let _heir = stack.start_processor(processor(&stack, &endpoint), 1, "1h").await?;
    assert_eq!(web.ended(&id).await?["processingResults"], "done");
    let keys = endpoint.calls(2).await?;
    assert_eq!(keys[0].headers["idempotency-key"], keys[1].headers["idempotency-key"]);
    Ok(())
}

#[tokio::test]
async fn the_call_of_a_worker_that_stops_is_handed_back() -> Result<()> {
    let (stack, endpoint) = (
        Stack::fresh().await?,
        Endpoint::start(|_, before| match before {
            0 => Reply::Hang,
            _ => Reply::json("\"done\""),
        })
        .await?,
    );
    let program = processor(&stack, &endpoint).env("DRAIN_TIMEOUT", "100ms");
    let (web, stopped) = tokio::try_join!(stack.web(), stack.start_processor(program, 1, "1h"))?;
    let id = web.accepted_json("1").await?;
    endpoint.calls(1).await?;
    stopped.terminate();
    ensure!(stopped.wait_within(WAIT_TIMEOUT).await?.success(), "it stops cleanly");
    endpoint.broken_off(1).await?;
    let _heir = stack.start_processor(processor(&stack, &endpoint), 1, "1h").await?;
    let ended = web.ended(&id).await?;
    assert_eq!((&ended["status"], &ended["attempts"]), (&json!("completed"), &json!(1)));
    Ok(())
}

#[tokio::test]
async fn the_call_of_a_worker_that_stops_with_its_endpoint_costs_no_attempt() -> Result<()> {
    let (stack, mut endpoint) = (
        Stack::fresh().await?,
        Endpoint::start(|_, before| match before {
            0 => Reply::Hang,
            _ => Reply::json("\"done\""),
        })
        .await?,
    );
    let program = processor(&stack, &endpoint);
    let (web, stopped) = tokio::try_join!(stack.web(), stack.start_processor(program, 1, "1h"))?;
    let id = web.accepted_json("1").await?;
    endpoint.calls(1).await?;
    stopped.terminate();
    stopped.wait_for_message(STOPPING).await?;
    endpoint.go_down().await;
    ensure!(stopped.wait_within(WAIT_TIMEOUT).await?.success(), "it stops cleanly");
    endpoint.come_back().await?;
    let _heir = stack.start_processor(processor(&stack, &endpoint), 1, "1h").await?;
    let ended = web.ended(&id).await?;
    assert_eq!((&ended["status"], &ended["attempts"]), (&json!("completed"), &json!(1)));
    Ok(())
}

#[tokio::test]
async fn a_mebibyte_goes_both_ways_and_no_output_is_too_much() -> Result<()> {
    let (_stack, web, _endpoint, _processor) = working(|call, _| match call.body.as_str() {
        "1" => Reply::With("200 OK", String::new(), b"a\xffb\0".to_vec()),
        "2" => Reply::Endless,
        data => Reply::json(data),
    })
    .await?;
    let much = "x".repeat((1 << 20) - 100);
    let ended = end_of(&web, &format!("\"{much}\"")).await?;
    ensure!(ended["processingResults"] == much, "it came back otherwise");
    assert_eq!(end_of(&web, "1").await?["processingResults"], "a\u{fffd}b\0");
    let ended = end_of(&web, "2").await?;
    assert_eq!(error(&ended).0, "result_too_large", "{ended}");
    Ok(())
}
