//! Messages that the AMQP client can't read: each costs the connection on which it is delivered, and
//! nothing else.

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use pipeline::{
    log_messages::{DISCONNECTED, UNREADABLE_MESSAGES},
    topology::WEB_LOCK,
};
use serde_json::json;
use testbed::{
    foreign::persistent,
    raw_publisher::{nested_arrays, nested_tables, text_header},
};
use uuid::Uuid;

use crate::support::{
    stack::{Stack, UNREADABLE, Web},
    wait::holds,
};

const REQUEST: &[u8] = br#"{"requestId":"unreadable","requestData":1}"#;
const RESULT: &[u8] = br#"{"requestId":"unreadable","processingResults":1}"#;

/// A header in an encoding other than UTF-8: "Müller" in Latin 1.
fn latin_1() -> Vec<u8> {
    text_header("name", b"M\xfcller")
}

#[tokio::test]
async fn an_unreadable_request_costs_none_of_those_beside_it() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let accepted = |n: usize| web.accepted(json!(n));
    let before = try_join_all((0..10).map(accepted)).await?;
    stack.raw_publisher().await?.publish("processing", "request", &latin_1(), REQUEST).await?;
    let after = try_join_all((10..20).map(accepted)).await?;
    let program = || stack.program("processor-service");
    let _processors = tokio::try_join!(
        stack.start_processor(program(), 4, "500ms"),
        stack.start_processor(program(), 4, "500ms")
    )?;
    // Then the broker has taken it from the processors, and it costs the web service a connection.
    web.program.wait_for_message(DISCONNECTED).await?;
    for id in before.iter().chain(&after) {
        let ended = web.ended(id).await?;
        assert_eq!(ended["status"], "completed", "{ended}");
    }
    let foreign = stack.foreign().await?;
    holds(&foreign, UNREADABLE, |messages| messages == 1).await
}

#[tokio::test]
async fn an_unreadable_result_costs_none_of_those_beside_it() -> Result<()> {
    let stack = Stack::fresh().await?;
    let foreign = stack.foreign().await?;
    let ids: Vec<String> = (0..200).map(|_| Uuid::now_v7().to_string()).collect();
    for (n, id) in ids.iter().enumerate() {
        if n == 100 {
            stack
                .raw_publisher()
                .await?
                .publish("processing", "result", &latin_1(), RESULT)
                .await?;
        }
        let body = json!({ "requestId": id, "processingResults": n }).to_string();
        foreign.publish("processing", "result", persistent(), body.as_bytes()).await?;
    }
    let web = stack.web().await?;
    web.results(ids.clone()).await?;
    for id in &ids {
        assert_eq!(web.request(id).await?["status"], "completed");
    }
    holds(&foreign, UNREADABLE, |messages| messages == 1).await
}

#[tokio::test]
async fn readiness_and_log_tell_of_messages_that_nobody_could_receive() -> Result<()> {
    let stack = Stack::fresh().await?;
    let foreign = stack.foreign().await?;
    foreign.publish("processing", "unreadable", persistent(), b"from before").await?;
    let web = stack.web().await?;
    let warned = web.program.wait_for_message(UNREADABLE_MESSAGES).await?;
    assert_eq!((&warned["queue"], &warned["messages"]), (&json!(UNREADABLE), &json!(1)));
    let ready: serde_json::Value = web.get("/health/ready").await?.json().await?;
    let detail = ready["parts"]["topology"]["detail"].to_string();
    ensure!(ready["status"] == "ready" && detail.contains("could receive: 1"), "{ready}");
    Ok(())
}

/// Where messages can be sent, each with a body that belongs there.
const TARGETS: [(&str, &str, &[u8]); 7] = [
    ("processing", "request", REQUEST),
    ("processing", "result", RESULT),
    ("processing", "failed", REQUEST),
    ("processing.retry.1000", "request", REQUEST),
    ("processing.control", "", br#"{"type":"who"}"#),
    ("processing.events", "request.started", br#"{"requestId":"unreadable"}"#),
    ("", WEB_LOCK, b"{}"),
];

#[tokio::test]
async fn deeply_nested_headers_end_no_program() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.processor(2, "1ms"))?;
    let mut raw = stack.raw_publisher().await?;
    for levels in [100, 1_000, 14_000] {
        for headers in [nested_tables(levels), nested_arrays(levels)] {
            for (exchange, key, body) in TARGETS {
                raw.publish(exchange, key, &headers, body).await?;
            }
            still_work(&web).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_deeply_nested_message_on_the_lock_does_not_harm_the_stop() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let mut raw = stack.raw_publisher().await?;
    raw.publish("", WEB_LOCK, &nested_tables(14_000), b"{}").await?;
    // When a request has been answered, the web service has received what was published before.
    let _processor = stack.processor(1, "1ms").await?;
    still_work(&web).await?;
    web.program.terminate();
    let (status, output) = web.program.ended().await?;
    ensure!(status.success(), "{output}");
    Ok(())
}

/// Only with both programs a request comes to its end.
async fn still_work(web: &Web) -> Result<()> {
    let id = web.accepted(json!("good")).await?;
    assert_eq!(web.ended(&id).await?["status"], "completed");
    Ok(())
}
