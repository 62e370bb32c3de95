//! A message that kills its workers is parked after a few deliveries, and costs no other request anything.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::{
    foreign::{AMQPValue, arguments},
    program::Running,
    rabbitmq::{Node, NodeOptions},
    shared_node,
};

use crate::support::{
    faulty::began,
    processors::Kept,
    stack::{FAILED, REQUESTS, Stack, Web},
};

/// How often a message is delivered at most.
const MAX_DELIVERIES: usize = 5;
/// Longer than a request is held while the other processes are asked about it.
const ACK_TIMEOUT: Duration = Duration::from_secs(35);
const GOOD_REQUESTS: usize = 200;

async fn kind_of(kind: &str) -> Result<Stack> {
    let stack = Stack { url: shared_node::vhost().await.url };
    stack.setup().env("QUEUE_TYPE", kind).start()?.ended().await?;
    Ok(stack)
}

/// The good ones are completed, and the bad one is parked after its last delivery.
async fn only_the_bad_one_fails(stack: &Stack, processes: usize, bad: usize) -> Result<()> {
    let web = stack.web().await?;
    let kept = Kept::alive(stack, processes, 4);
    let (mut good, mut killers) = (Vec::new(), Vec::new());
    for n in 0..GOOD_REQUESTS {
        if n % (GOOD_REQUESTS / bad) == GOOD_REQUESTS / bad / 2 {
            killers.push(web.accepted(json!({"kill": true})).await?);
        }
        good.push(web.accepted(json!({"sleep": "10ms", "n": n})).await?);
    }
    for id in &good {
        let ended = web.ended(id).await?;
        ensure!(ended["status"] == "completed", "{ended}");
    }
    for id in &killers {
        let ended = web.ended_at_last(id).await?;
        assert_eq!(
            (&ended["status"], &ended["error"]["code"]),
            (&json!("failed"), &json!("poison"))
        );
        let message = ended["error"]["message"].to_string();
        ensure!(message.contains("MAX_DELIVERIES"), "{message}");
    }
    let deaths = kept.deaths();
    ensure!(deaths <= bad * MAX_DELIVERIES, "{deaths} died of {bad} messages");
    let foreign = stack.foreign().await?;
    ensure!(foreign.depth(REQUESTS).await?.messages + foreign.depth(FAILED).await?.messages == 0);
    Ok(())
}

#[tokio::test]
async fn a_message_that_kills_its_workers_is_parked_and_harms_no_other() -> Result<()> {
    only_the_bad_one_fails(&kind_of("quorum").await?, 3, 1).await
}

#[tokio::test]
async fn on_classic_queues_too_a_message_that_kills_its_workers_is_parked() -> Result<()> {
    only_the_bad_one_fails(&kind_of("classic").await?, 3, 1).await
}

#[tokio::test]
async fn messages_that_kill_the_only_process_harm_none_that_wait_there() -> Result<()> {
    only_the_bad_one_fails(&kind_of("quorum").await?, 1, 4).await
}

/// A node of its own whose acknowledgement timeout is short.
async fn impatient() -> Result<(Node, Stack, Web)> {
    let node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
    node.set_consumer_timeout(ACK_TIMEOUT).await?;
    let stack = Stack { url: node.url() };
    // As setup declares it, but without a timeout of its own, which takes a minute at least.
    let text = |text: &str| AMQPValue::LongString(text.into());
    let as_it_is = arguments([
        ("x-queue-type", text("quorum")),
        ("x-dead-letter-exchange", text("processing")),
        ("x-dead-letter-routing-key", text("failed")),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ]);
    stack.foreign().await?.declare_queue(REQUESTS, as_it_is).await?;
    // The services declare and bind what else there is.
    let web = stack.web().await?;
    Ok((node, stack, web))
}

async fn hanging(stack: &Stack) -> Result<Running> {
    let processor = stack.faulty(3).env("MAX_DELIVERIES", "2").start()?;
    crate::support::stack::consuming(&processor, 3).await?;
    Ok(processor)
}

#[tokio::test]
async fn work_that_outlasts_the_brokers_patience_is_not_repeated_for_ever() -> Result<()> {
    let (_node, stack, web) = impatient().await?;
    let processors = [hanging(&stack).await?, hanging(&stack).await?];
    let id = web.accepted(json!({"hang": true})).await?;
    let ended = web.ended_at_last(&id).await?;
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("failed"), &json!("poison")));
    let mut begun = 0;
    for processor in &processors {
        begun += began(processor, &id)?.len();
    }
    assert_eq!(begun, 2, "as often as MAX_DELIVERIES allows");
    Ok(())
}
