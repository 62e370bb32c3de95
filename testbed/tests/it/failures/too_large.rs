//! Bodies that are longer than the broker takes end alone: what is in flight with them goes on.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use pipeline::log_messages::PUBLISHING_CHANNEL_CLOSED;
use serde_json::{Value, json};
use testbed::{
    process::json_message,
    rabbitmq::{Node, NodeOptions},
    shared_node,
};

use crate::support::stack::{Stack, Web};

const MAX_MESSAGE_BYTES: usize = 200_000;
const TOO_LONG: usize = 300_000;

async fn node() -> Result<Node> {
    let node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
    node.set_max_message_size(MAX_MESSAGE_BYTES).await?;
    Ok(node)
}

fn body(bytes: usize) -> String {
    json!({ "data": "x".repeat(bytes) }).to_string()
}

/// How often the broker has closed a channel of the service.
fn closed_channels(web: &Web) -> usize {
    let lines = web.program.lines();
    lines.iter().filter(|line| json_message(line, PUBLISHING_CHANNEL_CLOSED).is_some()).count()
}

/// The outcomes of a batch of short lines with a long one among them.
async fn batch_with_a_long_line(web: &Web) -> Result<Vec<Value>> {
    let mut lines: Vec<_> = (0..500).map(|number| json!({ "data": number }).to_string()).collect();
    lines[250] = body(TOO_LONG);
    let url = format!("{}/api/v1/processData/batch", web.base);
    let post = web.client.post(url).header("content-type", "application/x-ndjson");
    let answer = post.body(lines.join("\n")).send().await?.text().await?;
    Ok(answer.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

#[tokio::test]
async fn a_line_that_is_longer_than_the_broker_takes_costs_its_batch_nothing_else() -> Result<()> {
    let node = node().await?;
    let stack = Stack::on(&node.url()).await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.processor(4, "0ms"))?;
    let mut ids = HashSet::new();
    for _ in 0..2 {
        let mut outcomes = batch_with_a_long_line(&web).await?;
        ensure!(outcomes.len() == 500, "{outcomes:?}");
        let long = outcomes.remove(250);
        ensure!(long["status"] == 413 && long["error"]["type"] == "too-large", "{long}");
        ensure!(long["error"]["detail"].to_string().contains("200000"), "{long}");
        for outcome in outcomes {
            ensure!(outcome["status"] == 202, "{outcome}");
            ids.insert(outcome["requestId"].as_str().context("an id")?.to_owned());
        }
    }
    assert_eq!((ids.len(), closed_channels(&web)), (998, 1), "the limit is learned once");
    web.results(ids).await
}

#[tokio::test]
async fn requests_beside_a_body_that_the_broker_does_not_take_are_accepted() -> Result<()> {
    let node = node().await?;
    let stack = Stack::on(&node.url()).await?;
    let web = stack.web().await?;
    let long = async {
        for _ in 0..5 {
            let answer = web.post_body(body(TOO_LONG)).await?;
            let (status, answer) = (answer.status(), answer.json::<Value>().await?);
            ensure!(status == 413 && answer["type"] == "too-large", "{status} {answer}");
        }
        Ok(())
    };
    let short = try_join_all((0..100).map(|number| web.accepted(number.into())));
    tokio::try_join!(long, short)?;
    // The longest that fits, with its id.
    let around = json!({"requestId": "01a1fd87-448c-755a-a380-a6f598ec5ae1", "requestData": ""});
    let room = MAX_MESSAGE_BYTES - around.to_string().len();
    for (bytes, expected) in [(room, 202), (room + 1, 413)] {
        ensure!(web.post_body(body(bytes)).await?.status() == expected, "{bytes}");
    }
    assert_eq!(closed_channels(&web), 1);
    Ok(())
}

#[tokio::test]
async fn a_replay_of_what_the_broker_takes_no_more_is_refused() -> Result<()> {
    let node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
    let stack = Stack::on(&node.url()).await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.start_faulty(1, "1s"))?;
    let data = json!({"permanent": "no", "padding": "x".repeat(TOO_LONG)});
    let id = web.accepted(data).await?;
    ensure!(web.ended(&id).await?["status"] == "failed");
    node.set_max_message_size(MAX_MESSAGE_BYTES).await?;
    // Channels that are open keep the limit that they began with.
    let before = web.program.from_now();
    node.close_all_connections().await?;
    before.wait_for_message(pipeline::log_messages::CONSUMING).await?;
    web.ready().await?;
    for _ in 0..2 {
        let (status, answer) = web.replay(&id).await?;
        ensure!(status == 413 && answer["type"] == "too-large", "{status} {answer}");
    }
    ensure!(web.request(&id).await?["status"] == "failed");
    Ok(())
}
