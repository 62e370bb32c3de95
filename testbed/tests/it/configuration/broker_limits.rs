//! Brokers that limit the channels of a connection, or nothing: everything works, or says what it lacks.

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::{
    rabbitmq::{Node, NodeOptions},
    shared_node,
};

use crate::support::stack::{Stack, consuming};

async fn node(conf: &str) -> Result<Node> {
    let options = NodeOptions { extra_conf: conf.to_owned(), ..NodeOptions::default() };
    Node::start(&shared_node::install().await?, options).await
}

/// A web service and a processor go all ways: a result, a long one, a retry, a failed request.
async fn everything_works(stack: &Stack) -> Result<()> {
    let (web, _processor) = tokio::try_join!(stack.web(), stack.start_faulty(1, "1s"))?;
    for data in [json!("a"), json!("x".repeat(300_000)), json!({"fail": 1})] {
        let id = web.accepted(data.clone()).await?;
        assert_eq!(web.ended(&id).await?["processingResults"], data);
    }
    let id = web.accepted(json!({"permanent": "no"})).await?;
    ensure!(web.ended(&id).await?["status"] == "failed");
    web.ready().await
}

/// On an empty virtual host, with and without `setup`, which has to succeed at its first run.
async fn everything_works_on(node: &Node) -> Result<()> {
    everything_works(&Stack::on(&node.url()).await?).await?;
    node.add_vhost("bare").await?;
    everything_works(&Stack { url: node.url_for("bare") }).await
}

#[tokio::test]
async fn zero_is_no_limit_of_channels_and_frames() -> Result<()> {
    everything_works_on(&node("channel_max = 0\nframe_max = 0").await?).await
}

#[tokio::test]
async fn eight_channels_are_enough() -> Result<()> {
    everything_works_on(&node("channel_max = 8").await?).await
}

#[tokio::test]
async fn four_channels_are_enough_for_one_worker() -> Result<()> {
    everything_works_on(&node("channel_max = 4").await?).await
}

#[tokio::test]
async fn workers_for_whom_no_channel_is_left_say_so_and_the_others_work() -> Result<()> {
    let node = node("channel_max = 4").await?;
    let stack = Stack::on(&node.url()).await?;
    let web = stack.web().await?;
    let processor = stack.program("processor-service").env("WORKERS", "8");
    let processor = processor.env("PROCESSING_DELAY", "1ms").start()?;
    let lacks = "can't consume: the broker allows 4 channels on a connection";
    let said = |line: &str| line.contains(lacks).then_some(());
    tokio::try_join!(consuming(&processor, 1), processor.wait_for("what it lacks", said))?;
    for number in 0..5 {
        let id = web.accepted(number.into()).await?;
        web.result(&id).await?;
    }
    Ok(())
}
