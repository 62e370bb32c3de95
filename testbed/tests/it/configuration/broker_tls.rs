//! The broker over TLS.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testbed::{
    Proxy,
    rabbitmq::{Node, NodeOptions},
    shared_node,
};
use tokio::task::JoinSet;

use crate::support::stack::{Stack, Web};

async fn node() -> Result<Node> {
    let options = NodeOptions { tls: true, ..NodeOptions::default() };
    Node::start(&shared_node::install().await?, options).await
}

/// When the socket is full, the client keeps the end of a burst in its own buffers until it writes
/// again. With a heartbeat of a minute that would come too late for the callers.
#[tokio::test]
async fn the_end_of_a_burst_is_confirmed_without_waiting_for_a_heartbeat() -> Result<()> {
    let node = node().await?;
    let proxy = Proxy::start(node.tls_address()?).await?;
    let ca = node.ca_file();
    let url = proxy.url(&format!("{}?heartbeat=60&cacertfile={}", node.tls_url()?, ca.display()));
    let stack = Stack::on(&url).await?;
    let web = Web::start(stack.program("web-service").env("PUBLISH_TIMEOUT", "20s")).await?;
    proxy.stall();
    let mut burst = JoinSet::new();
    let mut post = |bytes: usize| {
        let post = web.client.post(format!("{}/api/v1/processData", web.base));
        let body = format!("{{\"data\":\"{}\"}}", "x".repeat(bytes));
        burst.spawn(post.header("content-type", "application/json").body(body).send());
    };
    (0..16).for_each(|_| post(MESSAGE_BYTES));
    let mut queued = grown(&proxy, usize::MAX).await?;
    loop {
        post(MESSAGE_BYTES);
        let before = queued;
        queued = grown(&proxy, before + MESSAGE_BYTES).await?;
        if queued < before + MESSAGE_BYTES {
            // The socket is full, and the rest of the last message is in the client's buffer.
            break;
        }
    }
    proxy.resume();
    while let Some(answer) = burst.join_next().await {
        // On a slow machine the last may have come so late that the broker was taken for blocked.
        let text = answer??.text().await?;
        ensure!(!text.contains("outcome-unknown"), "a confirm came too late: {text}");
    }
    let _processor = stack.processor(2, "1ms").await?;
    let last = web.accepted("last".into()).await?;
    web.result(&last).await?;
    Ok(())
}

/// The size of a message: less than the client's TLS buffer takes.
const MESSAGE_BYTES: usize = 48 * 1024;

/// Waits until so many bytes are queued, for as long as a message needs to get there.
async fn grown(proxy: &Proxy, enough: usize) -> Result<usize> {
    let limit = Instant::now() + Duration::from_millis(150);
    loop {
        let queued = bytes_queued_to(proxy)?;
        if queued >= enough || Instant::now() > limit {
            return Ok(queued);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// How many bytes the kernel holds that were written to the proxy and not read by it.
fn bytes_queued_to(proxy: &Proxy) -> Result<usize> {
    let port = format!(":{:04X}", proxy.address().port());
    let sockets = std::fs::read_to_string("/proc/net/tcp")?;
    let queued = sockets.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (sending, received) = fields.get(4)?.split_once(':')?;
        let bytes = |hex| usize::from_str_radix(hex, 16).ok();
        match (fields.get(1)?.ends_with(&port), fields.get(2)?.ends_with(&port)) {
            (true, _) => bytes(received),
            (_, true) => bytes(sending),
            _ => None,
        }
    });
    Ok(queued.sum())
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
