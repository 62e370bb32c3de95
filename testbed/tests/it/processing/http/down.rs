//! Endpoints that are down, answer with nothing but failures, or are broken by a request, and come back.

use std::time::Duration;

use anyhow::{Result, ensure};
use pipeline::log_messages::{ENDPOINT_BACK, ENDPOINT_DOWN, ENDPOINT_REACHED, HANDED_BACK};
use serde_json::json;
use testbed::process::json_message;

use super::{end_of, error, processor};
use crate::support::{
    endpoint::{Endpoint, Reply},
    processor_health::{listening, ready_is},
    scrape::Scrape,
    stack::{Stack, consuming},
};

/// The endpoint is down when it has done its first work, for as long as `down` takes, and comes back.
async fn comes_back_after(down: Duration) -> Result<()> {
    let (stack, mut endpoint) =
        (Stack::fresh().await?, Endpoint::start(|call, _| Reply::json(&call.body)).await?);
    let (processor, at) = listening(processor(&stack, &endpoint).env("WORKERS", "2")).await?;
    consuming(&processor, 2).await?;
    let web = stack.web().await?;
    assert_eq!(end_of(&web, "0").await?["status"], "completed");
    endpoint.go_down().await;
    let mut ids = Vec::new();
    for n in 1..=10 {
        ids.push(web.accepted(json!(n)).await?);
    }
    let said = processor.wait_for_message(ENDPOINT_DOWN).await?;
    ensure!(said["reason"].to_string().contains("Connection refused"), "{said}");
    ready_is(&at, 503, "workers").await?;
    assert_eq!(Scrape::of(&at).await?.value("work_blocked"), Some(1.0));
    tokio::time::sleep(down).await;
    endpoint.come_back().await?;
    let back = tokio::time::Instant::now();
    for (n, id) in ids.iter().enumerate() {
        let ended = web.ended(id).await?;
        let expected = (&json!(n + 1), &json!(1));
        assert_eq!((&ended["processingResults"], &ended["attempts"]), expected, "{ended}");
    }
    ensure!(back.elapsed() < Duration::from_secs(15), "it took {:?}", back.elapsed());
    processor.wait_for_message(ENDPOINT_BACK).await?;
    ready_is(&at, 200, "").await?;
    // Two jobs that waited, and nothing else: no request was delivered only to fail.
    let handed_back = |line: &String| json_message(line, HANDED_BACK).is_some();
    ensure!(!processor.lines().iter().any(handed_back), "a request was handed back");
    assert_eq!(Scrape::of(&at).await?.value("work_blocked"), Some(0.0));
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_is_down_fails_no_request() -> Result<()> {
    comes_back_after(Duration::ZERO).await
}

#[tokio::test]
async fn a_job_that_waits_for_its_endpoint_ends_with_the_true_reason() -> Result<()> {
    let (stack, mut endpoint) = (Stack::fresh().await?, Endpoint::start(|_, _| Reply::Hang).await?);
    endpoint.go_down().await;
    let program = processor(&stack, &endpoint).env("JOB_TIMEOUT", "2s");
    let (web, _processor) = tokio::try_join!(stack.web(), stack.start_processor(program, 1, "1h"))?;
    let ended = end_of(&web, "1").await?;
    let (code, message) = error(&ended);
    ensure!(code == "timeout" && message.contains("Connection refused"), "{ended}");
    Ok(())
}

#[tokio::test]
async fn a_job_that_waits_for_its_endpoint_is_handed_back_when_the_worker_stops() -> Result<()> {
    let (stack, mut endpoint) =
        (Stack::fresh().await?, Endpoint::start(|_, _| Reply::json("\"done\"")).await?);
    endpoint.go_down().await;
    let program = processor(&stack, &endpoint);
    let (web, stopped) = tokio::try_join!(stack.web(), stack.start_processor(program, 1, "1h"))?;
    let id = web.accepted_json("1").await?;
    stopped.wait_for_message(ENDPOINT_DOWN).await?;
    stopped.terminate();
    // Well before DRAIN_TIMEOUT is over.
    ensure!(stopped.wait_within(Duration::from_secs(15)).await?.success(), "it stops cleanly");
    endpoint.come_back().await?;
    let _heir = stack.start_processor(processor(&stack, &endpoint), 1, "1h").await?;
    let ended = web.ended(&id).await?;
    assert_eq!((&ended["status"], &ended["attempts"]), (&json!("completed"), &json!(1)));
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_fails_everything_for_a_while_fails_no_more_than_two_attempts()
-> Result<()> {
    let (stack, endpoint) = (
        Stack::fresh().await?,
        Endpoint::start(|call, before| match before {
            0..6 => Reply::status("500 Oh", "no database"),
            _ => Reply::json(&call.body),
        })
        .await?,
    );
    let program = processor(&stack, &endpoint).env("MAX_ATTEMPTS", "3");
    let (web, processor) = tokio::try_join!(stack.web(), stack.start_processor(program, 1, "1h"))?;
    let ids = [web.accepted(json!(1)).await?, web.accepted(json!(2)).await?];
    let mut attempts = 0;
    for id in &ids {
        let ended = web.ended(id).await?;
        assert_eq!(ended["status"], "completed", "{ended}");
        attempts += ended["attempts"].as_u64().unwrap_or_default();
    }
    ensure!(attempts <= 4, "of six failures {attempts} were attempts");
    let said = processor.wait_for_message(ENDPOINT_DOWN).await?;
    ensure!(said["reason"].to_string().contains("no database"), "{said}");
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_takes_calls_and_gives_no_answer_is_down_still() -> Result<()> {
    let (stack, mut endpoint) = (
        Stack::fresh().await?,
        Endpoint::start(|call, before| match before {
            0 => Reply::Hang,
            _ => Reply::json(&call.body),
        })
        .await?,
    );
    endpoint.go_down().await;
    let (processor, at) = listening(processor(&stack, &endpoint)).await?;
    consuming(&processor, 1).await?;
    let web = stack.web().await?;
    let id = web.accepted_json("1").await?;
    processor.wait_for_message(ENDPOINT_DOWN).await?;
    endpoint.come_back().await?;
    processor.wait_for_message(ENDPOINT_REACHED).await?;
    ready_is(&at, 503, "workers").await?;
    endpoint.go_down().await;
    endpoint.come_back().await?;
    let ended = web.ended(&id).await?;
    assert_eq!((&ended["status"], &ended["attempts"]), (&json!("completed"), &json!(1)));
    processor.wait_for_message(ENDPOINT_BACK).await?;
    ready_is(&at, 200, "").await
}

mod slow {
    use super::*;

    #[tokio::test]
    async fn a_request_that_breaks_its_endpoint_does_not_keep_those_behind_it_from_it() -> Result<()>
    {
        let (stack, mut endpoint) = (
            Stack::fresh().await?,
            Endpoint::start(|call, _| match call.body.as_str() {
                "1" => Reply::Break,
                data => Reply::json(data),
            })
            .await?,
        );
        endpoint.go_down().await;
        let program = processor(&stack, &endpoint);
        let (web, processor) =
            tokio::try_join!(stack.web(), stack.start_processor(program, 1, "1h"))?;
        let breaks = web.accepted_json("1").await?;
        processor.wait_for_message(ENDPOINT_DOWN).await?;
        let good = web.accepted_json("2").await?;
        endpoint.come_back().await?;
        processor.wait_for_message(HANDED_BACK).await?;
        assert_eq!(web.ended(&good).await?["processingResults"], 2);
        // Now that the endpoint does its work, the failure is an attempt.
        let ended = web.ended(&breaks).await?;
        assert_eq!((error(&ended).0, &ended["attempts"]), ("attempts_exhausted", &json!(1)));
        Ok(())
    }

    #[tokio::test]
    async fn an_endpoint_that_is_down_for_half_a_minute_fails_no_request() -> Result<()> {
        comes_back_after(Duration::from_secs(30)).await
    }
}
