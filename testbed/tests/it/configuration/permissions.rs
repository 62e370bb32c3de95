//! Users of the broker that lack a permission: what is refused is told so, and works once it is granted.

use anyhow::{Result, ensure};
use serde_json::Value;
use testbed::shared_node::{self, Vhost};

use crate::support::{
    stack::{Stack, Web},
    wait::settles,
};

const EVERYTHING: [&str; 3] = [".*", ".*", ".*"];
/// May write to its own queues alone.
const NO_WRITE: [&str; 3] = [".*", r"^processing\.(instance|web).*", ".*"];

/// A stack for a user with these permissions.
async fn stack_as(vhost: &Vhost, user: &str, permissions: [&str; 3]) -> Result<Stack> {
    Stack::on(&vhost.url).await?;
    vhost.add_user(user, "s3cret", &vhost.name, permissions).await?;
    Ok(Stack { url: vhost.url_as(user, "s3cret", &vhost.name) })
}

async fn post(web: &Web) -> Result<(u16, Value)> {
    let answer = web.post_body(r#"{"data":1}"#).await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

#[tokio::test]
async fn a_request_that_the_broker_refuses_is_not_of_unknown_outcome() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let user = format!("no-writer-{}", vhost.name);
    let stack = stack_as(&vhost, &user, NO_WRITE).await?;
    let web = stack.web().await?;
    for _ in 0..5 {
        let (status, answer) = post(&web).await?;
        ensure!(status == 503 && answer["type"] == "unavailable", "{status} {answer}");
        ensure!(answer["detail"].to_string().contains("refused"), "{answer}");
    }
    vhost.permit(&user, &vhost.name, EVERYTHING).await?;
    settles("requests are accepted", async || Ok(post(&web).await?.0 == 202)).await
}

#[tokio::test]
async fn a_result_that_the_broker_refuses_is_logged_and_published_once_it_may_be() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let user = format!("no-writer-{}", vhost.name);
    let stack = stack_as(&vhost, &user, NO_WRITE).await?;
    let web = Stack { url: vhost.url.clone() }.web().await?;
    let processor = stack.processor(1, "1ms").await?;
    let id = web.accepted("a".into()).await?;
    let refused = |line: &str| line.contains("the broker refused the message: ").then_some(());
    processor.wait_for("the refusal", refused).await?;
    vhost.permit(&user, &vhost.name, EVERYTHING).await?;
    assert_eq!(web.result(&id).await?["result"], "\"a-processed\"");
    Ok(())
}
