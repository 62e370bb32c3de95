//! The broker over TLS.

use anyhow::{Result, ensure};
use testbed::{
    rabbitmq::{Node, NodeOptions},
    shared,
};
use tokio::task::JoinSet;

use crate::stack::{Stack, Web};

async fn node() -> Result<Node> {
    let options = NodeOptions { tls: true, ..NodeOptions::default() };
    Node::start(&shared::install().await?, options).await
}

/// With a heartbeat of a minute, a confirm that has to wait for one comes too late for everybody.
#[tokio::test]
async fn the_end_of_a_burst_is_confirmed_without_waiting_for_a_heartbeat() -> Result<()> {
    let node = node().await?;
    let url = format!("{}?heartbeat=60&cacertfile={}", node.tls_url()?, node.ca_file().display());
    let stack = Stack::on(&url).await?;
    let web = Web::start(stack.program("web-service").env("PUBLISH_TIMEOUT", "20s")).await?;
    let body = format!("{{\"data\":\"{}\"}}", "x".repeat(64 * 1024));
    let mut burst = JoinSet::new();
    for _ in 0..489 {
        let (http, url, body) =
            (web.client.clone(), format!("{}/api/v1/processData", web.base), body.clone());
        burst.spawn(async move {
            http.post(url).header("content-type", "application/json").body(body).send().await
        });
    }
    while let Some(answer) = burst.join_next().await {
        let answer = answer??;
        ensure!(answer.status() == 202, "{}", answer.text().await?);
    }
    let _processor = stack.processor(2, "1ms").await?;
    let last = web.accepted("last".into()).await?;
    web.result(&last).await?;
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused_with_advice() -> Result<()> {
    let node = node().await?;
    let setup = |url: String| testbed::Program::new("setup").env("AMQP_URL", url).start();
    let (status, text) = setup(node.tls_url()?)?.ended().await?;
    assert_eq!(status.code(), Some(3), "{text}");
    assert!(text.contains("certificate") && text.contains("cacertfile"), "{text}");
    let (status, text) =
        setup(format!("{}?cacertfile=/no/such/file", node.tls_url()?))?.ended().await?;
    assert_eq!(status.code(), Some(3), "{text}");
    assert!(text.contains("/no/such/file"), "{text}");
    Ok(())
}
