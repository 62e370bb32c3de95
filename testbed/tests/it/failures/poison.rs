//! A message that kills its workers is parked after a few deliveries, and costs no other request anything.

mod slow;

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::shared_node;

use crate::support::{
    processors::Kept,
    stack::{FAILED, REQUESTS, Stack},
};

/// How often a message is delivered at most.
const MAX_DELIVERIES: usize = 5;
const GOOD_REQUESTS: usize = 200;

async fn kind_of(kind: &str) -> Result<Stack> {
    Stack::of_kind(kind, &shared_node::vhost().await.url).await
}

/// The good ones are completed, and the bad one is parked after its last delivery.
async fn only_the_bad_one_fails(
    stack: &Stack,
    processes: usize,
    bad: usize,
    prefetch: u16,
) -> Result<()> {
    let web = stack.web().await?;
    let kept = Kept::alive(stack, processes, 4, prefetch);
    let (mut good, mut killers) = (Vec::new(), Vec::new());
    for n in 0..GOOD_REQUESTS {
        if n % (GOOD_REQUESTS / bad) == GOOD_REQUESTS / bad / 2 {
            killers.push(web.accepted(json!({"kill": true})).await?);
        }
        good.push(web.accepted(json!({"sleep": "10ms", "n": n})).await?);
    }
    for id in &good {
        // The only process may die many times first, and asks about each suspect before it begins.
        let ended = web.ended(id).await?;
        ensure!(ended["status"] == "completed", "{ended}");
    }
    for id in &killers {
        let ended = web.ended(id).await?;
        assert_eq!(
            (&ended["status"], &ended["error"]["code"]),
            (&json!("failed"), &json!("poison"))
        );
        let message = ended["error"]["message"].to_string();
        ensure!(message.contains("MAX_DELIVERIES"), "{message}");
    }
    let deaths = kept.deaths();
    // What the broker delivered to a process that was dying already counts as well.
    let expected = bad * (MAX_DELIVERIES - 1)..=bad * MAX_DELIVERIES;
    ensure!(expected.contains(&deaths), "{deaths} died of {bad} messages");
    let foreign = stack.foreign().await?;
    ensure!(foreign.depth(REQUESTS).await?.messages + foreign.depth(FAILED).await?.messages == 0);
    Ok(())
}

#[tokio::test]
async fn a_suspect_that_a_full_queue_does_not_take_back_does_not_hold_its_only_worker() -> Result<()>
{
    let vhost = shared_node::vhost().await;
    let stack = Stack::on(&vhost.url).await?;
    let web = stack.web().await?;
    let mut ids = vec![web.accepted(json!({"suspect": true})).await?];
    for _ in 0..3 {
        // Dropped with its connection, as by a worker that has crashed.
        let dead = stack.foreign().await?;
        dead.consume(REQUESTS, 1).await?.next_unacked().await?;
    }
    for n in 0..3 {
        ids.push(web.accepted(json!({ "n": n })).await?);
    }
    vhost.set_policy(&vhost.name, "^processing.requests$", r#"{"max-length":1}"#).await?;
    let _processor = stack.processor(1, "1ms").await?;
    for id in &ids {
        assert_eq!(web.ended(id).await?["status"], "completed");
    }
    Ok(())
}

#[tokio::test]
async fn a_message_that_kills_its_workers_is_parked_and_harms_no_other() -> Result<()> {
    only_the_bad_one_fails(&kind_of("quorum").await?, 3, 1, 1).await
}

#[tokio::test]
async fn on_classic_queues_too_a_message_that_kills_its_workers_is_parked() -> Result<()> {
    only_the_bad_one_fails(&kind_of("classic").await?, 3, 1, 1).await
}

#[tokio::test]
async fn messages_that_kill_the_only_process_harm_none_that_wait_there() -> Result<()> {
    only_the_bad_one_fails(&kind_of("quorum").await?, 1, 4, 1).await
}

#[tokio::test]
async fn with_a_prefetch_of_8_a_message_that_kills_its_workers_is_parked_and_harms_no_other()
-> Result<()> {
    only_the_bad_one_fails(&kind_of("quorum").await?, 3, 1, 8).await
}

#[tokio::test]
async fn with_a_prefetch_of_8_on_classic_queues_too_a_message_that_kills_its_workers_is_parked()
-> Result<()> {
    only_the_bad_one_fails(&kind_of("classic").await?, 3, 1, 8).await
}

#[tokio::test]
async fn with_a_prefetch_of_8_messages_that_kill_the_only_process_harm_none_that_wait_there()
-> Result<()> {
    only_the_bad_one_fails(&kind_of("quorum").await?, 1, 4, 8).await
}
