//! Queues that refuse messages, as by a policy: who publishes there says so, and goes on once they take them.

use anyhow::{Result, ensure};
use pipeline::log_messages::NOT_PUBLISHED_YET;
use serde_json::Value;
use testbed::{foreign::persistent, process::json_message, shared_node};

use crate::support::{
    processor_health::listening,
    scrape::Scrape,
    stack::{RESULTS, Stack, consuming},
    wait::settles,
};

#[tokio::test]
async fn a_result_that_its_queue_refuses_is_logged_and_counted_and_published_when_there_is_room()
-> Result<()> {
    let vhost = shared_node::vhost().await;
    let stack = Stack::on(&vhost.url).await?;
    let foreign = stack.foreign().await?;
    let full = r#"{"max-length":1,"overflow":"reject-publish"}"#;
    vhost.set_policy(&vhost.name, "^processing.results$", full).await?;
    // Also until the policy has reached the queue.
    while foreign.publish("", RESULTS, persistent(), b"{}").await.is_ok() {}
    let program = stack.program("processor-service").env("PROCESSING_DELAY", "1ms");
    let (processor, at) = listening(program).await?;
    consuming(&processor, 1).await?;
    let body = br#"{"requestId":"me","requestData":1}"#;
    foreign.publish("processing", "request", persistent(), body).await?;

    // It may be connecting still when the first result is there.
    let is_refusal = |said: &Value| said["reason"].to_string().contains("nack");
    let refused = |line: &str| json_message(line, NOT_PUBLISHED_YET).filter(is_refusal);
    let said = processor.wait_for("a refusal", refused).await?;
    ensure!(said["message_id"] == "me", "{said}");
    settles("the refusals are counted", async || {
        let nacked = r#"publishes_total{outcome="nacked"}"#;
        Ok(Scrape::of(&at).await?.value(nacked).is_some_and(|refused| refused > 0.0))
    })
    .await?;
    foreign.purge(RESULTS).await?;
    let result = foreign.next(RESULTS).await?.json()?;
    ensure!(
        result["requestId"] == "me" && result["processingResults"] == "1-processed",
        "{result}"
    );
    Ok(())
}
