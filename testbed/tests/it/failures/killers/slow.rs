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
    stack::{FAILED, REQUESTS, Stack},
    wait::{holds, settles},
};

#[tokio::test]
async fn a_broker_that_crashes_between_costs_one_death_more_at_most() -> Result<()> {
    for kind in ["quorum", "classic"] {
        let mut node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
        let stack = Stack::of_kind(kind, &node.url()).await?;
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
        holds(&foreign, FAILED, |messages| messages > 0).await?;
        // Of a classic queue, a crash can bring back what was acked: beside the copy, each of which is parked by itself.
        settles("everything is parked", async || Ok(unfinished(&node).await? == 0)).await?;
        let copies = usize::try_from(foreign.depth(FAILED).await?.messages)?;
        ensure!(copies == 1 || copies == 2 && kind == "classic", "{kind}: {copies} are parked");
        let deaths = kept.deaths();
        ensure!(deaths <= copies * (MAX_DELIVERIES + 1), "{kind}: {deaths} died of {copies}");
    }
    Ok(())
}

/// How many messages wait for a worker or are in the hands of one.
async fn unfinished(node: &Node) -> Result<u32> {
    let list = node.ctl(&["list_queues", "--no-table-headers", "name", "messages"]).await?;
    let queues = list.lines().filter_map(|line| line.split_once('\t'));
    let waiting =
        queues.filter(|(name, _)| *name == REQUESTS || name.starts_with("processing.retry"));
    waiting.map(|(_, messages)| Ok(messages.trim().parse::<u32>()?)).sum()
}
