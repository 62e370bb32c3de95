//! A killer, and a broker that crashes between two deaths.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::{
    rabbitmq::{Node, NodeOptions},
    shared_node,
};

use super::{MAX_DELIVERIES, publish};
use crate::support::{
    processors::Kept,
    stack::{FAILED, Stack},
    wait::holds,
};

#[tokio::test]
async fn a_broker_that_crashes_between_costs_one_death_more_at_most() -> Result<()> {
    for kind in ["quorum", "classic"] {
        let mut node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
        let stack = Stack { url: node.url() };
        stack.setup().env("QUEUE_TYPE", kind).start()?.ended().await?;
        let foreign = stack.foreign().await?;
        // RabbitMQ can forget a queue that was declared only a moment before it was killed.
        let mut events = foreign.listen("processing.events", "request.#").await?;
        ensure!(events.silent_for(Duration::from_secs(4)).await, "nobody works yet");
        publish(&foreign, json!({"killAfter": "1s"})).await?;
        let mut started = foreign.listen("processing.events", "request.started").await?;
        let kept = Kept::alive(&stack, 2, 2, 1);
        for _ in 0..2 {
            started.next().await?;
        }
        node.kill().await?;
        node.start_again().await?;
        let foreign = stack.foreign().await?;
        holds(&foreign, FAILED, |messages| messages == 1).await?;
        let deaths = kept.deaths();
        ensure!(deaths <= MAX_DELIVERIES + 1, "{kind}: {deaths} died");
    }
    Ok(())
}
