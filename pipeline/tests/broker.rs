//! The parts of the link that no program uses alone: listening, announcing, and the lock.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use pipeline::{
    broker::{
        Address, Broadcast, BroadcastConsumer, Broker, BrokerOptions, Consume, Delivery, Lock,
        LockState, PublishError, SharedDelivery,
    },
    contract::{
        Control, Event, FinalStatus, FinishedRequest, JobEvent, JobEventName, Message, Request,
        Timestamp, TraceParent,
    },
    topology::{
        self, DEFAULT_EXCHANGE, Events, REQUESTS, RESULTS, RequestType, RequestTypes, Topology,
    },
};
use serde_json::value::RawValue;
use testbed::{
    Proxy,
    foreign::{Foreign, Properties},
    process::WAIT_TIMEOUT,
    rabbitmq::{Node, NodeOptions},
    shared_node,
};
use tokio::{
    runtime::Builder,
    sync::oneshot,
    task::spawn_blocking,
    time::{Duration, Instant, timeout},
};
use tokio_util::sync::CancellationToken;
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
