//! Work that hangs until the broker's acknowledgement timeout is over.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use testbed::{
    foreign::{AMQPValue, arguments},
    program::Running,
    rabbitmq::{Node, NodeOptions},
    shared_node,
};

use crate::support::{
    faulty::began,
    stack::{REQUESTS, Stack, Web, consuming},
};

/// Longer than a request is held while the other processes are asked about it.
const ACK_TIMEOUT: Duration = Duration::from_secs(35);

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
    consuming(&processor, 3).await?;
    Ok(processor)
}

#[tokio::test]
async fn work_that_outlasts_the_brokers_patience_is_not_repeated_for_ever() -> Result<()> {
    let (_node, stack, web) = impatient().await?;
    let processors = [hanging(&stack).await?, hanging(&stack).await?];
    let id = web.accepted(json!({"hang": true})).await?;
    let ended = web.ended(&id).await?;
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("failed"), &json!("poison")));
    let mut begun = 0;
    for processor in &processors {
        begun += began(processor, &id)?.len();
    }
    assert_eq!(begun, 2, "as often as MAX_DELIVERIES allows");
    Ok(())
}
