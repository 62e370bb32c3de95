//! `slowlane why`: reasons why a request has not ended, or how it has.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::support::{
    database::Database,
    slowlane::{UNKNOWN, run_slowlane},
    stack::{REQUESTS, Stack, Web},
    wait::settles,
};

/// The codes of the reasons.
async fn codes(web: &Web, id: &str) -> Result<(Vec<String>, Value)> {
    let why: Value = web.get(&format!("/api/v1/requests/{id}/why")).await?.json().await?;
    let reasons = why["reasons"].as_array().with_context(|| why.to_string())?.iter();
    let codes = reasons.map(|reason| reason["code"].as_str().unwrap_or_default().to_owned());
    Ok((codes.collect(), why))
}

/// Waits until these are the reasons, and returns them.
async fn reasons<const N: usize>(web: &Web, id: &str, expected: [&str; N]) -> Result<Value> {
    let mut last = (Vec::new(), Value::Null);
    let told = settles("these are the reasons", async || {
        last = codes(web, id).await?;
        Ok(last.0 == expected)
    });
    told.await.with_context(|| last.1.to_string())?;
    Ok(last.1)
}

#[tokio::test]
async fn the_reasons_follow_a_request_from_its_queue_to_its_end() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let id = web.accepted("a".into()).await?;
        let why = reasons(&web, &id, ["no-worker"]).await?;
        ensure!(why["begins"].is_null(), "{why}");
        let hands_back = stack.program("processor-service").env("DRAIN_TIMEOUT", "0");
        let processor = stack.start_processor(hands_back, 1, "1h").await?;
        let why = reasons(&web, &id, ["in-work"]).await?;
        ensure!(why["reasons"][0]["text"].to_string().contains("in attempt 1"), "{why}");
        let second = web.accepted("b".into()).await?;
        let third = web.accepted("c".into()).await?;
        reasons(&web, &second, ["waits-for-worker"]).await?;
        let expected = "It waits for a free worker: 1 request waits before it. 1 worker consumes requests, 1 is known to be \
            busy, the longest since ";
        settles("both requests are counted", async || {
            let (codes, why) = codes(&web, &third).await?;
            ensure!(codes == ["waits-for-worker"], "{why}");
            Ok(why["reasons"][0]["text"].to_string().contains(expected))
        })
        .await?;
        web.delete(&third).await?;
        reasons(&web, &third, ["cancelled"]).await?;
        processor.terminate();
        processor.ended().await?;

        let fails = stack.program("processor-service").env("RETRY_DELAYS", "1m");
        let fails = fails.env("PROCESSOR", "command");
        let fails = fails.env("PROCESSOR_COMMAND", "sh -c 'echo out of paper >&2; exit 75'");
        let _processor = stack.start_processor(fails, 1, "0s").await?;
        let why = reasons(&web, &id, ["waits-for-time"]).await?;
        let request: Value = web.get(&format!("/api/v1/requests/{id}")).await?.json().await?;
        ensure!(why["begins"]["at"] == request["nextAttemptAt"], "{why} {request}");
        ensure!(why["begins"]["isEstimate"] == false, "{why}");
        let said = run_slowlane(&web.base, &["why", &id]).await?;
        ensure!(said.code == Some(0) && said.text.contains("Attempt 1 failed: "), "{}", said.text);
        ensure!(said.text.contains("It may begin in "), "{}", said.text);
        let said = run_slowlane(&web.base, &["why", UNKNOWN]).await?;
        ensure!(said.code == Some(6), "{}", said.text);
    }
    Ok(())
}

#[tokio::test]
async fn while_requests_end_the_estimate_follows_their_rate() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let _processor = stack.processor(1, "500ms").await?;
    let first = web.accepted(0.into()).await?;
    web.result(&first).await?;
    let mut last = String::new();
    for number in 1..40 {
        last = web.accepted(number.into()).await?;
    }
    // Consumers are counted every few seconds.
    reasons(&web, &last, ["waits-for-worker"]).await?;
    settles("there is an estimate", async || {
        let (codes, why) = codes(&web, &last).await?;
        ensure!(codes == ["waits-for-worker"], "{why}");
        Ok(why["begins"]["isEstimate"] == true && why["begins"]["at"].is_string())
    })
    .await
}

#[tokio::test]
async fn a_request_without_a_message_may_be_missing() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let id = web.accepted("lost".into()).await?;
    stack.foreign().await?.get(REQUESTS).await?.context("a message")?;
    let _processor = stack.processor(1, "1ms").await?;
    let why = reasons(&web, &id, ["may-be-missing"]).await?;
    ensure!(why["reasons"][0]["text"].to_string().contains("slowlane verify"), "{why}");
    Ok(())
}
