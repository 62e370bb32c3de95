//! The broker layer under another system: its own exchanges and queues, and nothing of Slowlane's.

use std::thread;

use anyhow::{Context, Result, ensure};
use pipeline::{
    broker::{
        Address, Broker, BrokerOptions, Consume, Consumer, Delivery, ExclusiveConsumer,
        PublishError, Received,
    },
    contract::Message,
    topology::{
        CONTROL, DEFAULT_EXCHANGE, EVENTS, EXCHANGE, Exchange, ExchangeKind, ExclusiveQueue,
        FAILED, Queue, QueueType, REQUESTS, Topology,
    },
};
use testbed::{Proxy, foreign::Foreign, process::WAIT_TIMEOUT, shared_node};
use tokio::{
    runtime::Builder,
    time::{Duration, Instant, timeout},
};

/// A topic exchange, and the fanout beside it.
const NEWS: &str = "news";
const ALARMS: &str = "alarms";

fn connect(url: &str, topology: Topology) -> Result<Broker> {
    let addresses = vec![Address::parse(url)?];
    Ok(Broker::connect(&BrokerOptions { program: "test", addresses, topology }))
}

fn exchanges() -> [Exchange; 2] {
    [Exchange::new(NEWS, ExchangeKind::Topic), Exchange::new(ALARMS, ExchangeKind::Fanout)]
}

fn publishing(url: &str) -> Result<Broker> {
    connect(url, Topology::of_program(exchanges(), []))
}

fn message(exchange: &'static str, key: &str) -> Message {
    Message::json(exchange, key, &key).with_type("headline")
}

async fn published(broker: &Broker, message: &Message) -> Result<()> {
    let deadline = Instant::now() + WAIT_TIMEOUT;
    loop {
        match broker.publisher().publish(message.clone(), deadline).await {
            Err(PublishError::NotSent(_)) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            ended => return Ok(ended?),
        }
    }
}

async fn next(consumer: &mut Consumer) -> Result<Delivery> {
    timeout(WAIT_TIMEOUT, consumer.next()).await?.context("the consumer has ended")
}

async fn received(consumer: &mut ExclusiveConsumer) -> Result<Received> {
    timeout(WAIT_TIMEOUT, consumer.next()).await?.context("the consumer has ended")
}

/// Consumes until it has taken this many messages, and gives their routing keys.
async fn keys(consumer: &mut Consumer, count: usize) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    while keys.len() < count {
        let delivery = next(consumer).await?;
        keys.push(delivery.routing_key.clone());
        delivery.ack();
    }
    Ok(keys)
}

#[tokio::test]
async fn messages_reach_the_queues_whose_patterns_match() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let queue = |name| Queue::new(name, QueueType::Quorum);
    let queues = [
        queue("words").bound_to(NEWS, "news.*").bound_to(ALARMS, ""),
        queue("all").bound_to(NEWS, "#"),
        queue("direct"),
    ];
    // The one who receives starts first; the exchanges are declared by whoever comes first.
    let receiving = connect(&vhost.url, Topology::of_program(exchanges(), queues))?;
    let consume = |queue| receiving.consume(Consume::queue(queue, 10, queue));
    let [mut words, mut all, mut direct] = ["words", "all", "direct"].map(consume);
    let sending = publishing(&vhost.url)?;
    // Until all queues are there and bound, there is no route.
    published(&sending, &message(DEFAULT_EXCHANGE, "direct")).await?;
    for key in ["news.local", "news.local.sport", "other"] {
        published(&sending, &message(NEWS, key)).await?;
    }
    published(&sending, &message(ALARMS, "fire")).await?;
    assert_eq!(keys(&mut words, 2).await?, ["news.local", "fire"]);
    assert_eq!(keys(&mut all, 3).await?, ["news.local", "news.local.sport", "other"]);
    assert_eq!(keys(&mut direct, 1).await?, ["direct"]);
    Ok(())
}

#[tokio::test]
async fn nothing_of_slowlanes_is_declared_for_another_system() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let queue = Queue::new("orders", QueueType::Classic);
    let broker = connect(&vhost.url, Topology::of_program(exchanges(), [queue]))?;
    published(&broker, &message(DEFAULT_EXCHANGE, "orders")).await?;
    let foreign = Foreign::connect(&vhost.url).await?;
    let taken = foreign.get("orders").await?.context("a message")?;
    assert_eq!(taken.body, b"\"orders\"");
    let properties = taken.properties;
    assert_eq!(properties.kind().as_ref().map(|kind| kind.as_str()), Some("headline"));
    assert_eq!(properties.delivery_mode(), &Some(2), "persistent");
    ensure!(properties.message_id().is_some() && properties.timestamp().is_some());
    for queue in [REQUESTS, FAILED] {
        ensure!(foreign.depth(queue).await.is_err(), "{queue} was declared");
    }
    for exchange in [EXCHANGE, EVENTS, CONTROL] {
        let foreign = Foreign::connect(&vhost.url).await?;
        ensure!(foreign.listen(exchange, "").await.is_err(), "{exchange} was declared");
    }
    ensure!(broker.health().iter().all(|(_, part)| part.ok), "{:?}", broker.health());
    Ok(())
}

#[tokio::test]
async fn a_queue_that_lost_its_binding_is_bound_at_the_next_connect() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let topology = || {
        let queue = Queue::new("bound", QueueType::Quorum).bound_to(NEWS, "#");
        Topology::of_program(exchanges(), [queue])
    };
    let first = connect(&vhost.url, topology())?;
    published(&first, &message(NEWS, "one")).await?;
    first.close(WAIT_TIMEOUT).await;
    // As if the program had been killed after the declaration, before it could bind.
    let foreign = Foreign::connect(&vhost.url).await?;
    foreign.delete_exchange(NEWS).await?;
    foreign.declare_exchange(NEWS, testbed::foreign::ExchangeKind::Topic).await?;
    let _second = connect(&vhost.url, topology())?;
    let sender = publishing(&vhost.url)?;
    published(&sender, &message(NEWS, "two")).await
}

#[tokio::test]
async fn every_process_receives_on_a_queue_of_its_own_and_again_after_a_loss() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let proxy = Proxy::start(vhost.address()).await?;
    let queue = || ExclusiveQueue::new("reader").bound_to(NEWS, "news.#");
    let (near, far) = (publishing(&vhost.url)?, publishing(&proxy.url(&vhost.url))?);
    let mut steady = near.consume_exclusively(queue(), "reader");
    let mut cut = far.consume_exclusively(queue(), "reader");
    ensure!(matches!(received(&mut steady).await?, Received::Subscribed));
    for _ in 0..2 {
        ensure!(matches!(received(&mut cut).await?, Received::Subscribed));
        published(&near, &message(NEWS, "news.today")).await?;
        for consumer in [&mut steady, &mut cut] {
            let Received::Delivery(delivery) = received(consumer).await? else {
                anyhow::bail!("not the message")
            };
            assert_eq!(delivery.routing_key, "news.today");
            delivery.ack();
        }
        proxy.cut();
    }
    steady.close().await;
    near.close(WAIT_TIMEOUT).await;
    Ok(())
}

#[tokio::test]
async fn a_message_to_nobody_is_confirmed_only_where_nobody_is_needed() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let broker = publishing(&vhost.url)?;
    let mut consumer =
        broker.consume_exclusively(ExclusiveQueue::new("reader").bound_to(NEWS, "x"), "reader");
    received(&mut consumer).await?;
    published(&broker, &message(NEWS, "x")).await?;
    let (publisher, unheard) = (broker.publisher(), message(NEWS, "nobody"));
    publisher.publish_to_subscribers(unheard.clone(), Instant::now() + WAIT_TIMEOUT).await?;
    let refused = publisher.publish(unheard, Instant::now() + Duration::from_millis(300)).await;
    ensure!(matches!(refused, Err(PublishError::Unroutable(_))), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn a_background_publisher_keeps_a_bounded_number_until_the_broker_is_back() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let proxy = Proxy::start(vhost.address()).await?;
    proxy.refuse().await?;
    let queue = Queue::new("later", QueueType::Quorum);
    let broker = connect(&proxy.url(&vhost.url), Topology::of_program([], [queue]))?;
    let publisher = broker.background_publisher(3);
    let taken = ["1", "2", "3", "4"]
        .map(|id| publisher.try_publish(message(DEFAULT_EXCHANGE, "later").with_id(id)));
    assert_eq!((taken, publisher.waiting()), ([true, true, true, false], 3));
    proxy.accept().await?;
    let mut consumer = broker.consume(Consume::queue("later", 10, "later"));
    for id in ["1", "2", "3"] {
        let delivery = next(&mut consumer).await?;
        assert_eq!(delivery.properties.message_id.as_deref(), Some(id));
        delivery.ack();
    }
    consumer.close().await;
    // What still waits at the end is published before the connections are closed.
    ensure!(publisher.try_publish(message(DEFAULT_EXCHANGE, "later").with_id("5")));
    broker.close(WAIT_TIMEOUT).await;
    assert_eq!(publisher.waiting(), 0);
    ensure!(!publisher.try_publish(message(DEFAULT_EXCHANGE, "later")), "taken after the end");
    let foreign = Foreign::connect(&vhost.url).await?;
    assert_eq!(foreign.depth("later").await?.messages, 1);
    Ok(())
}

#[tokio::test]
async fn a_background_publisher_goes_on_when_the_runtime_ends_that_has_made_it() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let queue = Queue::new("later", QueueType::Quorum);
    let broker = connect(&vhost.url, Topology::of_program([], [queue]))?;
    let making = thread::scope(|scope| {
        let make = || -> Result<_> {
            let runtime = Builder::new_current_thread().build()?;
            Ok(runtime.block_on(async { broker.background_publisher(1) }))
        };
        scope.spawn(make).join()
    });
    let publisher = making.expect("the thread does not panic")?;
    ensure!(publisher.try_publish(message(DEFAULT_EXCHANGE, "later")));
    broker.close(WAIT_TIMEOUT).await;
    assert_eq!(publisher.waiting(), 0);
    let foreign = Foreign::connect(&vhost.url).await?;
    assert_eq!(foreign.depth("later").await?.messages, 1);
    Ok(())
}
