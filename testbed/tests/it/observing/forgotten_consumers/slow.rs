//! It takes the programs up to half a minute to notice.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::{
    rabbitmq::{Node, NodeOptions},
    shared_node,
};
use tokio::time::Instant;

use crate::{
    observing::processor_health::observed_processor,
    support::{
        processor_health::ready_is,
        stack::{REQUESTS, RESULTS, Stack},
        wait::settles,
    },
};

/// A worker that is deaf is to be found and subscribed again within this time.
const RECOVERY_TIME: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_processor_whose_consumer_is_gone_says_so_and_subscribes_again() -> Result<()> {
    let node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
    let stack = Stack::on(&node.url()).await?;
    let web = stack.web().await?;
    let (processor, at) = observed_processor(&stack, "1ms").await?;
    ready_is(&at, 200, "").await?;
    node.forget_consumers("/", REQUESTS).await?;
    ensure!(stack.foreign().await?.depth(REQUESTS).await?.consumers == 0, "it is still there");
    let (again, deaf_at) = (processor.from_now(), Instant::now());
    let id = web.accepted("hello".into()).await?;
    ready_is(&at, 503, "broker.consume").await?;
    eprintln!("not ready after {:?}", deaf_at.elapsed());
    again.wait_for_message(pipeline::log_messages::CONSUMING).await?;
    ready_is(&at, 200, "").await?;
    eprintln!("ready again after {:?}", deaf_at.elapsed());
    ensure!(web.ended(&id).await?["status"] == "completed");
    ensure!(deaf_at.elapsed() < RECOVERY_TIME, "it took {:?}", deaf_at.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_web_service_whose_consumer_is_gone_takes_results_again() -> Result<()> {
    let node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
    let stack = Stack::on(&node.url()).await?;
    let web = stack.web().await?;
    let _processor = stack.processor(1, "1ms").await?;
    node.forget_consumers("/", RESULTS).await?;
    let foreign = stack.foreign().await?;
    let id = web.accepted("hello".into()).await?;
    settles("the result waits", async || Ok(foreign.depth(RESULTS).await?.messages == 1)).await?;
    let ready = format!("{}/health/ready", web.base);
    settles("it is not ready", async || Ok(web.client.get(&ready).send().await?.status() == 503))
        .await?;
    settles("it is ready again", async || Ok(web.client.get(&ready).send().await?.status() == 200))
        .await?;
    let ended = web.ended(&id).await?;
    ensure!(ended["status"].as_str().context("a status")? == "completed", "{ended}");
    Ok(())
}
