//! A stopping worker hands its requests back at once, complete, and at no cost to their counts.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pipeline::log_messages;
use serde_json::{Value, json};
use testbed::{
    foreign::{AMQPValue, Foreign, Properties, arguments, persistent},
    process::json_message,
    program::Running,
    shared_node,
};
use tokio::time::{Instant, sleep_until};

use crate::support::{
    faulty::holding,
    stack::{FAILED, REQUESTS, RESULTS, Stack, consuming},
    wait::holds,
};

/// More often than a message may be delivered, to workers and by the broker.
const HAND_BACKS: usize = 22;

/// Starts a worker on the one message there is, and stops it at once in the middle of that. Gives which
/// delivery it was.
async fn handed_back(stack: &Stack, prefetch: u16) -> Result<i64> {
    let mut started = stack.foreign().await?.listen("processing.events", "request.started").await?;
    let worker = holding(stack.faulty(1), prefetch).env("DRAIN_TIMEOUT", "0").start()?;
    let event = started.next().await?.json()?;
    worker.terminate();
    worker.wait_for_message(log_messages::HANDED_BACK).await?;
    stopped(&worker).await?;
    event["delivery"].as_i64().context("a delivery")
}

async fn stopped(worker: &Running) -> Result<()> {
    let (status, text) = worker.ended().await?;
    ensure!(status.success(), "{status}: {text}");
    Ok(())
}

async fn survives_being_handed_back(kind: &str, prefetch: u16) -> Result<()> {
    let stack = Stack::of_kind(kind, &shared_node::vhost().await.url).await?;
    let web = stack.web().await?;
    let id = web.accepted(json!({"hang": true, "fail": 1})).await?;
    for _ in 0..HAND_BACKS {
        let delivery = handed_back(&stack, prefetch).await?;
        ensure!(delivery <= 2, "delivery {delivery}");
    }
    let foreign = stack.foreign().await?;
    holds(&foreign, REQUESTS, |messages| messages == 1).await?;
    assert_eq!(foreign.depth(FAILED).await?.messages, 0);
    assert_eq!(web.request(&id).await?["attempts"], 1);
    Ok(())
}

#[tokio::test]
async fn a_request_may_be_handed_back_any_number_of_times() -> Result<()> {
    survives_being_handed_back("quorum", 1).await
}

#[tokio::test]
async fn on_classic_queues_too_a_request_may_be_handed_back_any_number_of_times() -> Result<()> {
    survives_being_handed_back("classic", 1).await
}

#[tokio::test]
async fn with_a_prefetch_of_8_too_a_request_may_be_handed_back_any_number_of_times() -> Result<()> {
    survives_being_handed_back("quorum", 8).await
}

/// Publishes a request that was delivered so often before.
async fn publish(foreign: &Foreign, id: i64, data: Value, before: i64, run: i64) -> Result<()> {
    let body = json!({"requestId": id, "requestData": data}).to_string();
    let headers = arguments([
        ("slowlane-deliveries", AMQPValue::LongLongInt(before)),
        ("slowlane-run", AMQPValue::LongLongInt(run)),
    ]);
    let properties = persistent().with_headers(headers);
    foreign.publish("processing", "request", properties, body.as_bytes()).await
}

async fn cancel(foreign: &Foreign, wish: &str) -> Result<()> {
    let body = format!("{{\"type\":\"cancel\",{wish}}}");
    foreign.publish("processing.control", "", Properties::default(), body.as_bytes()).await
}

/// A processor whose two workers have one long job and one that waits to run in isolation, and a client.
async fn one_waits(drain: &str) -> Result<(Stack, Foreign, Running)> {
    let stack = Stack::fresh().await?;
    let foreign = stack.foreign().await?;
    let program = stack.faulty(2).env("DRAIN_TIMEOUT", drain).start()?;
    consuming(&program, 2).await?;
    program.wait_for_message(log_messages::RECEIVING_CONTROL).await?;
    publish(&foreign, 1, json!({"sleep": "1h"}), 0, 1).await?;
    program.wait_for_message(log_messages::STARTED).await?;
    publish(&foreign, 2, json!("alone"), 2, 0).await?;
    program.wait_for_message(log_messages::WAITING_FOR_ISOLATION).await?;
    Ok((stack, foreign, program))
}

#[tokio::test]
async fn who_waits_to_be_alone_goes_back_without_a_further_delivery() -> Result<()> {
    let (_stack, foreign, program) = one_waits("100ms").await?;
    program.terminate();
    stopped(&program).await?;
    holds(&foreign, REQUESTS, |messages| messages == 2).await?;
    let mut message = foreign.get(REQUESTS).await?.context("a message")?;
    if message.json()?["requestId"] == 1 {
        message = foreign.get(REQUESTS).await?.context("the other message")?;
    }
    assert_eq!(message.json()?["requestId"], 2);
    assert_eq!(message.header("slowlane-deliveries").as_deref(), Some("2"));
    assert!(!message.redelivered, "it is a copy");
    Ok(())
}

#[tokio::test]
async fn work_that_nobody_wants_is_stopped_and_says_nothing() -> Result<()> {
    let (_stack, foreign, program) = one_waits("1m").await?;
    // Neither is about the long job: it belongs to a later run, or to another request.
    cancel(&foreign, r#""requestId":1,"run":0"#).await?;
    cancel(&foreign, r#""requestId":"1""#).await?;
    cancel(&foreign, r#""requestId":2"#).await?;
    program
        .wait_for("the end of the waiting one", |line| {
            (line.contains(log_messages::CANCELLED) && line.contains("\"requestId\":\"2\""))
                .then_some(())
        })
        .await?;
    assert!(
        !program.lines().iter().any(|line| json_message(line, log_messages::FINISHED).is_some())
    );
    cancel(&foreign, r#""requestId":1,"run":1"#).await?;
    // It is free for others.
    publish(&foreign, 3, json!("next"), 0, 0).await?;
    publish(&foreign, 4, json!("next"), 2, 0).await?;
    let mut results = foreign.consume(RESULTS, 1).await?;
    for _ in 0..2 {
        let result = results.next().await?;
        assert_eq!(result.json()?["processingResults"], "next");
    }
    program.terminate();
    stopped(&program).await?;
    for queue in [REQUESTS, RESULTS, FAILED] {
        assert_eq!(foreign.depth(queue).await?.messages, 0, "{queue}");
    }
    Ok(())
}

#[tokio::test]
async fn what_was_begun_in_time_does_not_expire_by_being_handed_back() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let worker = stack.program("processor-service").env("DRAIN_TIMEOUT", "1ms");
    let worker = stack.start_processor(worker, 1, "1h").await?;
    let posted = Instant::now();
    let body = json!({"data": "a", "expiresIn": "4s"}).to_string();
    let id: Value = web.post_body(body).await?.json().await?;
    let id = id["requestId"].as_str().context("a requestId")?;
    worker.wait_for_message(log_messages::STARTED).await?;
    // Its time has to be over when it goes back.
    sleep_until(posted + Duration::from_secs(4)).await;
    worker.terminate();
    stopped(&worker).await?;
    let _heir = stack.processor(1, "1ms").await?;
    let ended = web.ended(id).await?;
    assert_eq!((&ended["status"], &ended["deliveries"]), (&json!("completed"), &json!(1)));
    Ok(())
}
