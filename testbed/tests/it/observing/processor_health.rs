//! A processor tells of its health at `PROCESSOR_HTTP_ADDR`.

use anyhow::{Context, Result};
use pipeline::log_messages::STARTED;
use testbed::{
    program::Running,
    rabbitmq::{Node, NodeOptions},
    shared_node,
};

use crate::support::{
    processor_health::{health, listening, ready_is},
    scrape::Scrape,
    stack::{Stack, consuming},
    wait::settles,
};

/// A processor with one worker, and where it tells of its health.
pub(super) async fn observed_processor(stack: &Stack, delay: &str) -> Result<(Running, String)> {
    let program = stack.program("processor-service").env("PROCESSING_DELAY", delay);
    let (processor, at) = listening(program).await?;
    consuming(&processor, 1).await?;
    Ok((processor, at))
}

#[tokio::test]
async fn a_processor_is_ready_while_its_broker_is_there() -> Result<()> {
    let mut node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
    let stack = Stack::on(&node.url()).await?;
    let (_processor, at) = observed_processor(&stack, "1ms").await?;
    ready_is(&at, 200, "").await?;
    assert_eq!(health(&at, "live").await?.0, 200);
    node.stop().await?;
    ready_is(&at, 503, "broker.consume").await?;
    // A restart of the processor would not help.
    assert_eq!(health(&at, "live").await?.0, 200);
    node.start_again().await?;
    ready_is(&at, 200, "").await?;
    let scrape = Scrape::of(&at).await?;
    assert!(scrape.value("reconnects_total{role=\"consume\"}") >= Some(1.0), "{}", scrape.text);
    Ok(())
}

#[tokio::test]
async fn a_busy_processor_is_ready_again_as_soon_as_its_lost_connections_are_back() -> Result<()> {
    let node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
    let stack = Stack::on(&node.url()).await?;
    let web = stack.web().await?;
    let (processor, at) = observed_processor(&stack, "1h").await?;
    web.accepted("a".into()).await?;
    processor.wait_for_message(STARTED).await?;
    node.close_all_connections().await?;
    settles("it has connected again", async || {
        let scrape = Scrape::of(&at).await?;
        Ok(scrape.value("reconnects_total{role=\"consume\"}") >= Some(1.0))
    })
    .await?;
    // It does not subscribe before its job has ended: another worker may take what comes.
    ready_is(&at, 200, "").await?;
    let scrape = Scrape::of(&at).await?;
    assert_eq!(scrape.value("consumer_up{queue=\"processing.requests\"}"), Some(1.0));
    Ok(())
}

#[tokio::test]
async fn a_processor_on_a_host_without_the_command_is_not_ready() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let folder = tempfile::tempdir()?;
    let command = folder.path().join("work");
    std::fs::copy("/bin/true", &command)?;
    let program = stack.program("processor-service").env("PROCESSOR", "command");
    let command_line = command.to_str().context("UTF-8")?;
    let (_processor, at) = listening(program.env("PROCESSOR_COMMAND", command_line)).await?;
    std::fs::remove_file(&command)?;
    web.accepted("a".into()).await?;
    ready_is(&at, 503, "workers").await?;
    assert_eq!(Scrape::of(&at).await?.value("host_fault"), Some(1.0));
    std::fs::copy("/bin/true", &command)?;
    ready_is(&at, 200, "").await
}

#[tokio::test]
async fn a_processor_that_stops_is_not_ready_and_still_answers() -> Result<()> {
    let stack = Stack::fresh().await?;
    let foreign = stack.foreign().await?;
    let (processor, at) = observed_processor(&stack, "1h").await?;
    let body = br#"{"requestId": "a", "requestData": 1}"#;
    foreign.publish("processing", "request", testbed::foreign::persistent(), body).await?;
    processor.wait_for_message(STARTED).await?;
    processor.terminate();
    ready_is(&at, 503, "workers").await
}

#[tokio::test]
async fn an_address_in_use_is_named_and_ends_the_processor() -> Result<()> {
    let stack = Stack::fresh().await?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let program = stack.program("processor-service").env("PROCESSOR_HTTP_ADDR", &address);
    let (status, text) = program.start()?.ended().await?;
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("can't listen on PROCESSOR_HTTP_ADDR={address}")), "{text}");
    Ok(())
}
