//! The parts of the link that no program uses alone: listening, announcing, consumers that stop, publishing, and the lock.

mod publishing;

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use pipeline::{
    broker::{
        Address, Broadcast, BroadcastConsumer, Broker, BrokerOptions, Consume, Declarer, Lock,
        LockState,
    },
    contract::{
        Control, Event, FinalStatus, FinishedRequest, JobEvent, JobEventName, Message, Request,
        Timestamp, TraceParent,
    },
    topology::{self, Events, Queue, QueueType, REQUESTS, RequestType, RequestTypes, Topology},
};
use serde_json::value::RawValue;
use testbed::{
    Proxy,
    foreign::{Foreign, Properties},
    process::WAIT_TIMEOUT,
    rabbitmq::{Node, NodeOptions},
    shared_node,
};
use tokio::time::{Duration, Instant, timeout};
use uuid::Uuid;

/// How often a consumer is stopped between two messages.
const STOPS: usize = 10;
/// How long after each message the next one is published to a consumer that stops, which may have so many.
const FEED_INTERVAL: Duration = Duration::from_millis(20);
const PREFETCH: u16 = 60;

fn connect(url: &str) -> Result<Broker> {
    let address = Address::parse(url)?;
    let (program, addresses, topology) =
        ("test", vec![address], Topology::of_service(&RequestTypes::default()));
    Ok(Broker::connect(&BrokerOptions { program, addresses, topology }))
}

async fn next(listener: &mut BroadcastConsumer) -> Result<Broadcast> {
    timeout(WAIT_TIMEOUT, listener.next()).await?.context("the listener has ended")
}

async fn becomes(lock: &Lock, wanted: &str) -> Result<()> {
    let mut state = lock.state();
    let is = |state: &LockState| match state {
        LockState::Held => wanted == "held",
        LockState::Taken => wanted == "taken",
        LockState::Waiting(reason) | LockState::Away(reason) | LockState::NotAllowed(reason) => {
            reason.contains(wanted)
        }
    };
    let reached = timeout(WAIT_TIMEOUT, state.wait_for(is)).await;
    reached.with_context(|| format!("never {wanted}: {:?}", lock.state().borrow()))??;
    Ok(())
}

fn finished() -> Event {
    let request = FinishedRequest { request_id: Uuid::now_v7(), status: FinalStatus::Completed };
    Event::finished(Timestamp::now(), &[request]).next().expect("one request makes one event")
}

/// Announces as soon as that is possible.
async fn announced(broker: &Broker, message: impl Into<Arc<Message>>) {
    let message = message.into();
    let event_publisher = broker.event_publisher();
    loop {
        if event_publisher.try_publish(message.clone()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn control_is_heard_by_all_and_events_by_those_who_want_them() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let broker = connect(&vhost.url)?;
    let (mut web, mut worker) = (broker.broadcasts(Events::All), broker.broadcasts(Events::None));
    assert_eq!(next(&mut web).await?, Broadcast::Subscribed);
    assert_eq!(next(&mut worker).await?, Broadcast::Subscribed);
    let (event, who) = (finished(), Control::Who);
    announced(&broker, event.message()).await;
    announced(&broker, who.message()).await;
    let Broadcast::Event(Event::Finished(heard)) = next(&mut web).await? else {
        anyhow::bail!("not the event");
    };
    let Event::Finished(said) = event else { anyhow::bail!("not the event") };
    assert_eq!(heard.requests, said.requests);
    assert_eq!(next(&mut web).await?, Broadcast::Control(Control::Who));
    assert_eq!(next(&mut worker).await?, Broadcast::Control(Control::Who));
    ensure!(broker.health().iter().all(|(_, part)| part.ok), "{:?}", broker.health());
    web.close().await;
    worker.close().await;
    timeout(Duration::from_secs(5), broker.close(WAIT_TIMEOUT)).await?;
    Ok(())
}

#[tokio::test]
async fn who_wants_the_events_of_workers_alone_gets_no_others() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let broker = connect(&vhost.url)?;
    let mut listener = broker.broadcasts(Events::OfWorkers);
    assert_eq!(next(&mut listener).await?, Broadcast::Subscribed);
    let id = Uuid::now_v7().into();
    let started = Event::Job(JobEvent::new(JobEventName::Started, id, "a:1/1"));
    announced(&broker, finished().message()).await;
    announced(&broker, started.message()).await;
    let Broadcast::Event(Event::Job(heard)) = next(&mut listener).await? else {
        anyhow::bail!("not the event of the worker");
    };
    assert_eq!(heard.event, JobEventName::Started);
    listener.close().await;
    Ok(())
}

#[tokio::test]
async fn a_listener_says_that_it_was_away_and_hears_again() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let proxy = Proxy::start(vhost.address()).await?;
    let broker = connect(&proxy.url(&vhost.url))?;
    let mut listener = broker.broadcasts(Events::All);
    for _ in 0..3 {
        assert_eq!(next(&mut listener).await?, Broadcast::Subscribed);
        let foreign = Foreign::connect(&vhost.url).await?;
        let who = br#"{"type":"who"}"#;
        foreign.publish(topology::CONTROL, "", Properties::default(), who).await?;
        assert_eq!(next(&mut listener).await?, Broadcast::Control(Control::Who));
        proxy.cut();
    }
    Ok(())
}

#[tokio::test]
async fn an_announcement_is_dropped_where_it_could_only_wait() -> Result<()> {
    let nobody = format!("amqp://127.0.0.1:{}", testbed::ports::free()?);
    let broker = connect(&nobody)?;
    let event_publisher = broker.event_publisher();
    (0..10).for_each(|_| assert!(!event_publisher.try_publish(finished().message())));
    assert_eq!(event_publisher.dropped(), 10);
    Ok(())
}

#[tokio::test]
async fn announcements_to_a_broker_that_takes_nothing_stay_few_and_cost_requests_nothing()
-> Result<()> {
    let node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
    let broker = connect(&node.url())?;
    let message = Arc::new(finished().message());
    announced(&broker, message.clone()).await;
    node.raise_memory_alarm().await?;
    let event_publisher = broker.event_publisher();
    let before = event_publisher.dropped();
    for _ in 0..5_000 {
        event_publisher.try_publish(message.clone());
        // Its channel's task is given the time to take what it wants.
        tokio::task::yield_now().await;
    }
    let dropped = event_publisher.dropped() - before;
    ensure!(dropped > 2_500, "only {dropped} of 5000 were dropped");
    let [publish, ..] = broker.health();
    ensure!(publish.1.ok, "dropped because the broker was away: {publish:?}");
    node.clear_memory_alarm().await?;
    let request = request("1".to_owned())?;
    broker.publisher().publish(request, Instant::now() + WAIT_TIMEOUT).await?;
    Ok(())
}

fn request(data: String) -> Result<Message> {
    let (id, data) = (Uuid::now_v7(), RawValue::from_string(data)?);
    Ok(Request::message(&id.into(), &RequestType::DEFAULT, &data, &TraceParent::for_request(id)))
}

#[tokio::test]
async fn a_consumer_that_stops_between_two_messages_leaves_none_that_counts_as_delivered()
-> Result<()> {
    let vhost = shared_node::vhost().await;
    let broker = connect(&vhost.url)?;
    let published = Instant::now() + WAIT_TIMEOUT;
    for round in 0..STOPS {
        for n in 1..=3 {
            let request = request(n.to_string())?;
            broker.publisher().publish_once_possible(request.clone(), published).await?;
        }
        let mut consumer = broker.consume(Consume::queue(REQUESTS, 1, "1"));
        consumer.next().await.context("a first message")?.ack();
        consumer.stop();
        let mut taken = 1;
        while let Some(delivery) = consumer.next().await {
            ensure!(!delivery.redelivered, "{taken} before it, round {round}");
            delivery.ack_and_wait().await;
            taken += 1;
        }
        consumer.close().await;
        let mut rest = broker.consume(Consume::queue(REQUESTS, 3, "rest"));
        for _ in taken..3 {
            let delivery = rest.next().await.context("another message")?;
            ensure!(!delivery.redelivered, "a message that nobody received, round {round}");
            delivery.ack_and_wait().await;
        }
        rest.close().await;
    }
    Ok(())
}

#[tokio::test]
async fn a_consumer_that_stops_takes_no_more_than_what_is_on_its_way() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let broker = connect(&vhost.url)?;
    let publisher = broker.publisher();
    let feeding = tokio::spawn(async move {
        loop {
            let message = request("1".to_owned()).expect("a request");
            let _published_or_not =
                publisher.publish_once_possible(message, Instant::now() + WAIT_TIMEOUT).await;
            tokio::time::sleep(FEED_INTERVAL).await;
        }
    });
    let mut consumer = broker.consume(Consume::queue(REQUESTS, PREFETCH, "1"));
    consumer.next().await.context("a first message")?.ack();
    consumer.stop();
    let mut received = 0;
    while let Some(delivery) = consumer.next().await {
        delivery.ack();
        received += 1;
    }
    feeding.abort();
    ensure!(received < PREFETCH, "it went on until it had as many as it may have");
    Ok(())
}

#[tokio::test]
async fn the_second_holder_of_a_lock_waits_until_the_first_is_gone() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let proxy = Proxy::start(vhost.address()).await?;
    let (one, other) = (connect(&proxy.url(&vhost.url))?, connect(&vhost.url)?);
    let first = one.lock(topology::WEB_LOCK, async {});
    becomes(&first, "held").await?;
    let second = other.lock(topology::WEB_LOCK, async {});
    becomes(&second, "taken").await?;
    proxy.refuse().await?;
    proxy.cut();
    becomes(&first, "lost").await?;
    becomes(&second, "held").await?;
    proxy.accept().await?;
    becomes(&first, "taken").await?;
    second.release().await;
    becomes(&first, "held").await
}

#[tokio::test]
async fn a_lock_whose_queue_was_deleted_is_taken_again() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let broker = connect(&vhost.url)?;
    let lock = broker.lock(topology::WEB_LOCK, async {});
    becomes(&lock, "held").await?;
    vhost.delete_queue(&vhost.name, topology::WEB_LOCK).await?;
    becomes(&lock, "deleted").await?;
    becomes(&lock, "held").await
}

#[tokio::test]
async fn a_channel_may_be_dropped_on_a_thread_that_runs_no_tasks() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let mut declarer = Declarer::connect(&Address::parse(&vhost.url)?, "test").await?;
    declarer.declare_queue(&Queue::new(REQUESTS, QueueType::Classic)).await?;
    let dropping = std::thread::spawn(|| drop(declarer));
    ensure!(dropping.join().is_ok(), "it panicked");
    Ok(())
}
