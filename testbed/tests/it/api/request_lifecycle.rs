//! One request from accepted to expired: its status, long polls, ETags and retention.

use anyhow::{Context, Result, ensure};
use pipeline::log_messages::REQUESTS_EXPIRED;
use serde_json::{Value, json};
use testbed::foreign::Properties;

use crate::support::{
    database::Database,
    requests::LOG_WAITERS,
    stack::{Stack, Web},
    wait::settles,
};

#[tokio::test]
async fn a_request_is_queued_and_then_completed_with_its_result() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let id = web.accepted("a".into()).await?;
    let queued = web.get(&format!("/api/v1/requests/{id}")).await?;
    assert_eq!(queued.headers()["retry-after"], "1");
    let tag = queued.headers()["etag"].clone();
    let queued: Value = queued.json().await?;
    assert_eq!((&queued["status"], &queued["requestId"]), (&json!("queued"), &json!(id)));

    let url = format!("{}/api/v1/requests/{id}", web.base);
    let unchanged = web.client.get(&url).header("If-None-Match", &tag).send().await?;
    assert_eq!(unchanged.status(), 304);

    let _processor = stack.processor(1, "1ms").await?;
    let done = web.ended(&id).await?;
    assert_eq!(
        (&done["status"], &done["processingResults"]),
        (&json!("completed"), &json!("a-processed"))
    );
    for field in ["acceptedAt", "startedAt", "finishedAt", "worker"] {
        assert!(done[field].is_string(), "{field}: {done}");
    }
    let changed = web.client.get(&url).header("If-None-Match", &tag).send().await?;
    assert_eq!(changed.status(), 200);
    Ok(())
}

#[tokio::test]
async fn a_caller_that_prefers_to_wait_gets_the_result_at_once() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let (web, _processor) =
            tokio::try_join!(database.web(&stack), stack.processor(1, "100ms"))?;
        let url = format!("{}/api/v1/processData", web.base);
        let post = || web.client.post(&url).json(&json!({"data": {"n": 1}}));
        let answer = post().header("Prefer", "wait=60").send().await?;
        assert_eq!(answer.status(), 200);
        let tag = answer.headers()["etag"].clone();
        let done: Value = answer.json().await?;
        assert_eq!(done["processingResults"], "{\"n\":1}-processed");
        let id = done["requestId"].as_str().context("a requestId")?;
        let stored = web.get(&format!("/api/v1/requests/{id}")).await?;
        assert_eq!(stored.headers()["etag"], tag, "it is what the store has: {done}");
        let answer = post().header("Prefer", "wait=0").send().await?;
        assert_eq!(answer.status(), 202);
    }
    Ok(())
}

#[tokio::test]
async fn the_stream_tells_the_present_state_and_ends_with_the_final_one() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let id = web.accepted("a".into()).await?;
    let mut stream = web.get(&format!("/api/v1/requests/{id}/events")).await?;
    let first = stream.chunk().await?.context("a first event")?;
    ensure!(String::from_utf8_lossy(&first).contains("\"status\":\"queued\""), "{first:?}");
    let _processor = stack.processor(1, "1ms").await?;
    let mut rest = String::new();
    while let Some(chunk) = stream.chunk().await? {
        rest.push_str(&String::from_utf8_lossy(&chunk));
    }
    ensure!(rest.contains("event: status") && rest.contains("\"status\":\"completed\""), "{rest}");
    Ok(())
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_crash() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let mut ids = Vec::new();
        for n in 0..50 {
            ids.push(web.accepted(n.into()).await?);
        }
        web.program.kill();
        web.program.wait().await?;
        // Nobody has worked on them yet: a result would make its own row.
        let web = database.web(&stack).await?;
        for id in &ids {
            assert_eq!(web.request(id).await?["status"], "queued");
        }
        let _processor = stack.processor(4, "1ms").await?;
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(web.ended(id).await?["processingResults"], format!("{n}-processed"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn payloads_of_all_sorts_come_back_as_they_were() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let foreign = stack.foreign().await?;
    let huge = format!("\"{}\"", "x".repeat(15 * 1024 * 1024));
    for payload in
        ["\"a\\u0000b\"", "\"🦀\"", "1e400", "{\"b\":1,\"a\":12345678901234567890.10}", &huge]
    {
        let id = web.accepted(1.into()).await?;
        let body = format!("{{\"requestId\":\"{id}\",\"processingResults\":{payload}}}");
        foreign.publish("processing", "result", Properties::default(), body.as_bytes()).await?;
        web.result(&id).await?;
        let text = web.get(&format!("/api/v1/requests/{id}")).await?.text().await?;
        ensure!(text.contains(&format!("\"processingResults\":{payload}")), "{:.100}", payload);
    }
    Ok(())
}

#[tokio::test]
async fn requests_are_listed_newest_first_page_by_page() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(web.accepted(n.into()).await?);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = web.list(&format!("status=queued&limit=2{cursor}")).await?;
        for item in page["items"].as_array().context("items")? {
            seen.push(item["requestId"].as_str().context("an id")?.to_owned());
        }
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    ids.reverse();
    assert_eq!(seen, ids);
    for bad in ["limit=0", "limit=501", "status=lost", "cursor=x", "color=blue"] {
        let answer = web.get(&format!("/api/v1/requests?{bad}")).await?;
        assert_eq!(answer.status(), 400, "{bad}");
    }
    Ok(())
}

#[tokio::test]
async fn never_seen_and_expired_are_told_apart() -> Result<()> {
    let stack = Stack::fresh().await?;
    let program = stack.program("web-service").env("RESULT_RETENTION", "1s");
    let (web, _processor) = tokio::try_join!(Web::start(program), stack.processor(1, "1ms"))?;
    let id = web.accepted("a".into()).await?;
    web.ended(&id).await?;
    web.program.wait_for_message(REQUESTS_EXPIRED).await?;
    let answer = web.get(&format!("/api/v1/requests/{id}")).await?;
    assert_eq!(answer.status(), 410);
    for unknown in ["01890000-0000-7000-8000-000000000000", "nonsense"] {
        let answer = web.get(&format!("/api/v1/requests/{unknown}")).await?;
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    Ok(())
}

#[tokio::test]
async fn a_wait_that_is_over_before_the_end_shows_the_request_as_it_is_then() -> Result<()> {
    let stack = Stack::fresh().await?;
    let program = stack.program("web-service").env("RUST_LOG", LOG_WAITERS);
    let (web, _processor) = tokio::try_join!(Web::start(program), stack.start_faulty(1, "1h"))?;
    let id = web.accepted(json!({"fail": 2})).await?;
    settles("the first attempt has failed", async || {
        Ok(web.request(&id).await?["nextAttemptAt"].is_string())
    })
    .await?;
    // Shorter than the pause after which the service reads the request again by itself.
    let url = format!("{}/api/v1/requests/{id}", web.base);
    let waiting = tokio::spawn(web.client.get(url).header("Prefer", "wait=4").send());
    web.is_waited_at_by(1).await?;
    assert_eq!(web.retry_now(&id).await?.0, 202);
    settles("the second attempt has failed", async || {
        let request = web.request(&id).await?;
        Ok(request["attempts"] == 2 && request["nextAttemptAt"].is_string())
    })
    .await?;
    let answer: Value = waiting.await??.json().await?;
    assert_eq!((&answer["status"], &answer["attempts"]), (&json!("queued"), &json!(2)), "{answer}");
    Ok(())
}

#[tokio::test]
async fn those_who_wait_are_answered_when_the_service_stops() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = Web::start(stack.program("web-service").env("RUST_LOG", LOG_WAITERS)).await?;
    let id = web.accepted("a".into()).await?;
    let url = format!("{}/api/v1/requests/{id}", web.base);
    let mut stream = web.get(&format!("/api/v1/requests/{id}/events")).await?;
    stream.chunk().await?;
    let waiting = tokio::spawn(web.client.get(url).header("Prefer", "wait=60").send());
    web.is_waited_at_by(2).await?;
    web.program.terminate();
    let answer: Value = waiting.await??.json().await?;
    assert_eq!(answer["status"], "queued");
    while stream.chunk().await?.is_some() {}
    let (status, text) = web.program.ended().await?;
    ensure!(status.success(), "{text}");
    Ok(())
}

#[tokio::test]
async fn two_web_services_on_postgresql_share_their_requests() -> Result<()> {
    let stack = Stack::fresh().await?;
    let database = Database::postgres().await;
    let (one, other) = tokio::try_join!(database.web(&stack), database.web(&stack))?;
    let _processor = stack.processor(2, "50ms").await?;
    for n in 0..10 {
        let id = one.accepted(n.into()).await?;
        assert_eq!(other.request(&id).await?["requestId"], id, "at once, everywhere");
        assert_eq!(other.ended(&id).await?["processingResults"], format!("{n}-processed"));
    }
    Ok(())
}

#[tokio::test]
async fn a_second_web_service_on_sqlite_is_not_ready_and_says_why() -> Result<()> {
    let stack = Stack::fresh().await?;
    let first = stack.web().await?;
    let second = Web::start_without_broker(stack.program("web-service")).await?;
    second.not_ready("store", "only one web service").await?;
    let ready = second.get("/health/ready").await?.text().await?;
    ensure!(ready.contains("DATABASE_URL=postgres://"), "{ready}");
    first.program.kill();
    second.ready().await
}
