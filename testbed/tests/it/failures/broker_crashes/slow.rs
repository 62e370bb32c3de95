//! Crashes of the broker that take minutes to show: many idle consumers, many crashes, many closed connections.

use anyhow::Result;
use futures_util::future::try_join_all;
use pipeline::log_messages::{CONSUMING, PUT_BACK, STARTED};
use serde_json::json;
use testbed::Program;

use super::Scene;
use crate::support::stack::REQUESTS;

#[tokio::test]
async fn what_the_broker_gave_up_because_200_consumers_were_idle_is_put_back() -> Result<()> {
    let mut scene = Scene::start("quorum", 1, 1).await?;
    let ids = scene.in_hand(1, json!({"sleep": "45s"})).await?;
    let consumer = async |_| {
        let foreign = scene.stack.foreign().await?;
        anyhow::Ok((foreign.consume(REQUESTS, 1).await?, foreign))
    };
    let idle = try_join_all((0..200).map(consumer)).await?;
    scene.crash().await?;
    drop(idle);
    scene.web.program.wait_for_message(PUT_BACK).await?;
    scene.all_complete(&ids).await
}

/// After each crash, every waiting message is redelivered before the next request begins. With `MAX_DELIVERIES=2`, the
/// second crash would end them all if the first one had been counted.
#[tokio::test]
async fn on_classic_queues_killed_brokers_park_nothing_that_was_never_begun() -> Result<()> {
    let at_most_two = |faulty: Program| faulty.env("MAX_DELIVERIES", "2");
    let mut scene = Scene::start_with("classic", 1, 2, at_most_two).await?;
    let accepted = (0..40).map(|n| scene.web.accepted(json!({"sleep": "1s", "n": n})));
    let ids = try_join_all(accepted).await?;
    for _ in 0..3 {
        scene.crash().await?;
        scene.processors[0].from_now().wait_for_message(STARTED).await?;
    }
    scene.all_complete(&ids).await
}

#[tokio::test]
async fn connections_that_are_closed_again_and_again_stop_no_live_worker() -> Result<()> {
    let scene = Scene::start("quorum", 3, 3).await?;
    let ids = scene.in_hand(2, json!({"sleep": "90s"})).await?;
    for _ in 0..7 {
        let again = scene.processors.iter().map(|processor| processor.from_now());
        let again: Vec<_> = again.collect();
        scene.node.close_all_connections().await?;
        for processor in again {
            processor.wait_for_message(CONSUMING).await?;
        }
    }
    scene.all_complete(&ids).await
}
