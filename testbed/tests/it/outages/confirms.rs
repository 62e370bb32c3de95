//! Confirms that never come: one is lost on its way, or a queue has none to give. Everything else goes on.

use anyhow::{Result, ensure};
use pipeline::log_messages::CHANNEL_REPLACED;
use serde_json::{Value, json};
use testbed::{
    Proxy,
    foreign::persistent,
    process::WAIT_TIMEOUT,
    rabbitmq::{Node, NodeOptions},
    shared_node,
};

use crate::support::{
    stack::{FAILED, REQUESTS, RESULTS, Stack, Web},
    wait::{holds, settles},
};

/// Fewer than a web service holds at once, and more than RabbitMQ lets one channel have with a queue that hangs.
const MANY_BAD_RESULTS: u32 = 240;

#[tokio::test]
async fn requests_are_accepted_again_after_a_confirm_that_never_came() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let stack = Stack::on(&vhost.url).await?;
    let proxy = Proxy::start(vhost.address()).await?;
    let web = stack.program("web-service").env("AMQP_URL", proxy.url(&vhost.url));
    let web = Web::start(web.env("PUBLISH_TIMEOUT", "4s")).await?;
    web.accepted("before".into()).await?;
    proxy.swallow_confirm();
    let answer = web.post_body(r#"{"data":1}"#).await?;
    let (status, answer) = (answer.status(), answer.json::<Value>().await?);
    ensure!(status == 503 && answer["type"] == "outcome-unknown", "{status} {answer}");
    web.not_publishing("confirmed nothing").await?;
    settles("requests are accepted", async || {
        Ok(web.post_body(r#"{"data":1}"#).await?.status() == 202)
    })
    .await?;
    web.ready().await
}

#[tokio::test]
async fn a_processor_finishes_its_jobs_although_a_confirm_never_came() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let stack = Stack::on(&vhost.url).await?;
    let proxy = Proxy::start(vhost.address()).await?;
    let behind = Stack { url: proxy.url(&vhost.url) };
    let (web, processor) = tokio::try_join!(stack.web(), behind.processor(1, "1ms"))?;
    let first = web.accepted("first".into()).await?;
    web.result(&first).await?;
    proxy.swallow_confirm();
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(web.accepted(number.into()).await?);
    }
    web.results(ids).await?;
    processor.wait_for_message(CHANNEL_REPLACED).await?;
    let foreign = stack.foreign().await?;
    holds(&foreign, "processing.requests", |messages| messages == 0).await
}

#[tokio::test]
async fn a_failed_queue_that_hangs_stops_no_results_of_a_processor() -> Result<()> {
    let node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
    let stack = Stack::on(&node.url()).await?;
    let (web, processor) = tokio::try_join!(stack.web(), stack.start_faulty(2, "1s"))?;
    node.suspend_queue("/", FAILED).await?;
    let bad = web.accepted(json!({"permanent": "no"})).await?;
    processor.wait_for_message(CHANNEL_REPLACED).await?;
    for number in 0..5 {
        let good = web.accepted(number.into()).await?;
        web.result(&good).await?;
    }
    node.resume_queue("/", FAILED).await?;
    ensure!(web.ended(&bad).await?["status"] == "failed");
    Ok(())
}

#[tokio::test]
async fn a_failed_queue_that_hangs_stops_neither_requests_nor_results() -> Result<()> {
    let node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
    let stack = Stack::on(&node.url()).await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.processor(1, "1ms"))?;
    web.warm_up().await?;
    node.suspend_queue("/", FAILED).await?;
    let foreign = stack.foreign().await?;
    for _ in 0..MANY_BAD_RESULTS {
        foreign.publish("", RESULTS, persistent(), b"nonsense").await?;
    }
    web.program.wait_for_message(CHANNEL_REPLACED).await?;
    for number in 0..5 {
        let id = web.accepted(number.into()).await?;
        web.result(&id).await?;
    }
    web.ready().await?;
    node.resume_queue("/", FAILED).await?;
    holds(&foreign, RESULTS, |messages| messages == 0).await
}

#[tokio::test]
async fn a_queue_that_hangs_delays_only_its_own_lines_of_a_batch() -> Result<()> {
    /// More than are published together.
    const LINES: usize = 300;
    let node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
    let stack = Stack::on(&node.url()).await?;
    stack.setup().env("TYPES", "default,video").start()?.succeed_within(WAIT_TIMEOUT).await?;
    let web = stack.program("web-service").env("TYPES", "default,video");
    let web = Web::start(web.env("PUBLISH_TIMEOUT", "6s")).await?;
    node.suspend_queue("/", "processing.requests.video").await?;
    let line = |n| match n {
        0 => "{\"data\":0,\"type\":\"video\"}\n".to_owned(),
        _ => format!("{{\"data\":{n}}}\n"),
    };
    let post = web.client.post(format!("{}/api/v1/processData/batch", web.base));
    let post = post.header("content-type", "application/x-ndjson");
    let answer = post.body((0..LINES).map(line).collect::<String>()).send().await?.text().await?;
    let outcomes: Vec<Value> =
        answer.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(outcomes[0]["error"]["type"], "outcome-unknown");
    let rejected = outcomes[1..].iter().find(|line| line["status"] != 202);
    ensure!(outcomes.len() == LINES && rejected.is_none(), "{rejected:?}");
    settles("the queue is named, and the others are used", async || {
        web.accepted("more".into()).await?;
        let health = web.get("/health/ready").await?;
        let (status, health) = (health.status(), health.text().await?);
        ensure!(status == 200, "{status} {health}");
        Ok(health.contains("key request.video"))
    })
    .await?;
    node.resume_queue("/", "processing.requests.video").await
}

#[tokio::test]
async fn a_queue_that_hangs_is_not_said_to_be_empty() -> Result<()> {
    let node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
    let stack = Stack::on(&node.url()).await?;
    let web = stack.web().await?;
    web.accepted("waits".into()).await?;
    let is_known = async || {
        let answer = web.get("/api/v1/scale").await?;
        if answer.status() == 503 {
            return Ok(false);
        }
        let scale: Value = answer.json().await?;
        Ok(scale["ready"] == 1)
    };
    settles("it is counted", is_known).await?;
    node.suspend_queue("/", REQUESTS).await?;
    settles("how much waits is not known", async || {
        let answer = web.get("/api/v1/scale").await?;
        if answer.status() == 503 {
            return Ok(true);
        }
        let scale: Value = answer.json().await?;
        ensure!(scale["ready"] == 1, "{scale}");
        Ok(false)
    })
    .await?;
    node.resume_queue("/", REQUESTS).await?;
    settles("it is counted again", is_known).await
}
