//! Publishing: what waits for the broker, is refused, or begins with a confirm.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use pipeline::{
    broker::{Consume, Delivery, PublishError, SharedDelivery},
    contract::Message,
    topology::{self, DEFAULT_EXCHANGE, REQUESTS, RESULTS},
};
use testbed::{
    Proxy,
    process::WAIT_TIMEOUT,
    rabbitmq::{Node, NodeOptions},
    shared_node,
};
use tokio::{
    runtime::Builder,
    sync::oneshot,
    task::spawn_blocking,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{connect, request};

#[tokio::test]
async fn what_may_wait_is_published_once_the_broker_can_be_reached() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let proxy = Proxy::start(vhost.address()).await?;
    proxy.refuse().await?;
    let broker = connect(&proxy.url(&vhost.url))?;
    let (publisher, request) = (broker.publisher(), Arc::new(request("1".to_owned())?));
    let not_sent = publisher.publish(request.clone(), Instant::now() + WAIT_TIMEOUT).await;
    ensure!(matches!(not_sent, Err(PublishError::NotSent(_))), "{not_sent:?}");
    let publishing =
        publisher.publish_once_possible(request.clone(), Instant::now() + WAIT_TIMEOUT);
    let accepting = async {
        // Another refusal shows that the first one has passed.
        let again = publisher.publish(request.clone(), Instant::now() + WAIT_TIMEOUT).await;
        ensure!(matches!(again, Err(PublishError::NotSent(_))), "{again:?}");
        proxy.accept().await
    };
    let (published, accepted) = tokio::join!(publishing, accepting);
    accepted?;
    Ok(published?)
}

#[tokio::test]
async fn what_can_go_another_way_is_not_offered_until_the_deadline_to_a_queue_that_refuses_it()
-> Result<()> {
    let vhost = shared_node::vhost().await;
    let broker = connect(&vhost.url)?;
    let publisher = broker.publisher();
    publisher
        .publish_once_possible(request("1".to_owned())?, Instant::now() + WAIT_TIMEOUT)
        .await?;
    vhost.set_policy(&vhost.name, "^processing.requests$", r#"{"max-length":1}"#).await?;
    let refused = async {
        loop {
            let (now, request) = (Instant::now(), request("2".to_owned())?);
            match publisher.publish_unless_refused(request, now, now + 2 * WAIT_TIMEOUT).await {
                // The policy has not reached the queue yet.
                Ok(()) => {}
                Err(PublishError::Nacked) => return Ok(()),
                Err(other) => return Err(other.into()),
            }
        }
    };
    timeout(WAIT_TIMEOUT, refused).await?
}

#[tokio::test]
async fn each_route_that_was_prepared_before_the_connection_gets_a_channel_of_its_own() -> Result<()>
{
    let vhost = shared_node::vhost().await;
    let (broker, node) = (connect(&vhost.url)?, shared_node::node().await?);
    let routing_keys = [REQUESTS, RESULTS, topology::FAILED];
    for routing_key in routing_keys {
        broker.publisher().prepare(DEFAULT_EXCHANGE, routing_key);
    }
    let all_open = async {
        loop {
            let confirming = node.ctl(&["list_channels", "-p", &vhost.name, "confirm"]).await?;
            // One is that of events.
            if confirming.lines().filter(|line| *line == "true").count() > routing_keys.len() {
                return Ok(());
            }
        }
    };
    timeout(WAIT_TIMEOUT, all_open).await?
}

#[tokio::test]
async fn a_route_stays_open_when_the_runtime_ends_that_was_the_first_to_publish_there() -> Result<()>
{
    let vhost = shared_node::vhost().await;
    let proxy = Proxy::start(vhost.address()).await?;
    let broker = connect(&proxy.url(&vhost.url))?;
    let (publisher, message) = (broker.publisher(), request("1".to_owned())?);
    // As a thread of the HTTP server, which ends before the last results are stored.
    let publish_first = move || -> Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let deadline = Instant::now() + WAIT_TIMEOUT;
        Ok(runtime.block_on(publisher.publish_once_possible(message, deadline))?)
    };
    spawn_blocking(publish_first).await??;
    // The next connection needs a new channel.
    proxy.cut();
    let (publisher, going_on) = (broker.publisher(), CancellationToken::new());
    let published = publisher.publish_until_confirmed(request("2".to_owned())?, &going_on);
    Ok(timeout(WAIT_TIMEOUT, published).await??)
}

#[tokio::test]
async fn with_the_confirm_begins_what_follows_from_it() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let proxy = Proxy::start(vhost.address()).await?;
    let broker = connect(&proxy.url(&vhost.url))?;
    let (publisher, request) = (broker.publisher(), Arc::new(request("1".to_owned())?));
    let deadline = || Instant::now() + WAIT_TIMEOUT;
    publisher.publish_once_possible(request.clone(), deadline()).await?;

    let (begun, follows) = oneshot::channel();
    let begin = Box::new(move || begun.send("it follows").expect("it is awaited"));
    let confirmed =
        publisher.publish_then(request, deadline(), begin, async { follows.await.ok() }).await?;
    ensure!(confirmed.followed == Some("it follows") && confirmed.at <= Instant::now());
    Ok(())
}

#[tokio::test]
async fn a_delivery_is_acked_with_the_confirm_of_what_follows_from_it() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let broker = connect(&vhost.url)?;
    let (publisher, going_on) = (broker.publisher(), CancellationToken::new());
    for n in 1..=2 {
        publisher.publish_until_confirmed(request(n.to_string())?, &going_on).await?;
    }
    let mut consumer = broker.consume(Consume::queue(REQUESTS, 1, "1"));
    let first = SharedDelivery::new(consumer.next().await.context("a first message")?);
    let taken = first.clone();
    let ack = move || taken.settle(Delivery::ack);
    let follows = Message::json(DEFAULT_EXCHANGE, RESULTS, &1);
    publisher.publish_until_confirmed_then(follows, &going_on, ack).await?;
    // The broker sends one at a time.
    let second = timeout(WAIT_TIMEOUT, consumer.next()).await?.context("a second message")?;
    ensure!(!second.redelivered && first.take().is_none());
    Ok(())
}

#[tokio::test]
async fn what_is_longer_than_the_broker_takes_is_not_sent_for_ever() -> Result<()> {
    let node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
    node.set_max_message_size(1000).await?;
    let broker = connect(&node.url())?;
    let (publisher, going_on) = (broker.publisher(), CancellationToken::new());
    publisher.publish_until_confirmed(request("1".to_owned())?, &going_on).await?;
    let long = Arc::new(request("1".repeat(1000))?);
    let refused =
        timeout(WAIT_TIMEOUT, publisher.publish_until_confirmed(long.clone(), &going_on)).await?;
    ensure!(matches!(refused, Err(PublishError::Invalid(_))), "{refused:?}");
    let never = || panic!("it follows from nothing");
    let publishing = publisher.publish_until_confirmed_then(long, &going_on, never);
    let refused = timeout(WAIT_TIMEOUT, publishing).await?;
    ensure!(matches!(refused, Err(PublishError::Invalid(_))), "{refused:?}");
    publisher.publish_until_confirmed(request("1".to_owned())?, &going_on).await?;
    Ok(())
}
