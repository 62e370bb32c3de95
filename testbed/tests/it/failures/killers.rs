//! A message that kills whoever works on it is parked after `MAX_DELIVERIES` deaths: soon or late, on both queue
//! types, also if nobody else is there.

mod slow;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{
    foreign::{Foreign, persistent},
    shared_node,
};

use crate::support::{
    processors::Kept,
    stack::{FAILED, REQUESTS, Stack},
    wait::holds,
};

/// How often a message is delivered at most.
const MAX_DELIVERIES: usize = 5;

async fn publish(foreign: &Foreign, data: Value) -> Result<()> {
    let body = json!({"requestId": "killer", "requestData": data}).to_string();
    foreign.publish("processing", "request", persistent(), body.as_bytes()).await
}

/// Without a web service: the message itself tells how it ended.
async fn parked_as_poison(stack: &Stack, data: Value, prefetch: u16) -> Result<usize> {
    let foreign = stack.foreign().await?;
    let kept = Kept::alive(stack, 2, 2, prefetch);
    publish(&foreign, data).await?;
    holds(&foreign, FAILED, |messages| messages == 1).await?;
    let failed = foreign.get(FAILED).await?.context("a failed request")?;
    assert_eq!(failed.header("slowlane-reason").as_deref(), Some("poison"));
    holds(&foreign, REQUESTS, |messages| messages == 0).await?;
    Ok(kept.deaths())
}

async fn parked_on_both_kinds_of_queue(prefetch: u16) -> Result<()> {
    let on = async |kind| {
        let stack = Stack::of_kind(kind, &shared_node::vhost().await.url).await?;
        let deaths = parked_as_poison(&stack, json!({"killAfter": "500ms"}), prefetch).await?;
        // What the broker delivered to a process that was dying already counts as well.
        let few = MAX_DELIVERIES - 1;
        ensure!((few..=MAX_DELIVERIES).contains(&deaths), "{kind}: {deaths} died");
        Ok(())
    };
    tokio::try_join!(on("quorum"), on("classic")).map(drop)
}

#[tokio::test]
async fn without_a_web_service_a_message_that_kills_after_a_while_is_parked() -> Result<()> {
    parked_on_both_kinds_of_queue(1).await
}

#[tokio::test]
async fn with_a_prefetch_of_8_too_a_message_that_kills_after_a_while_is_parked() -> Result<()> {
    parked_on_both_kinds_of_queue(8).await
}
