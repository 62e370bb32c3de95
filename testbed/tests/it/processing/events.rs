//! Events and control messages of workers, as a foreign client receives and sends them.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result, ensure};
use pipeline::log_messages;
use serde_json::{Value, json};
use testbed::{
    foreign::{AMQPValue, Foreign, Messages, Properties, arguments},
    process::{WAIT_TIMEOUT, json_message},
    program::Running,
    rabbitmq::{Node, NodeOptions},
    shared_node,
};
use tokio::time::{Instant, timeout_at};

use crate::support::stack::{RESULTS, Stack};

const EVENTS: &str = "processing.events";
const CONTROL: &str = "processing.control";

async fn request(foreign: &Foreign, id: &str, properties: Properties) -> Result<()> {
    let body = json!({"requestId": id, "requestData": 1}).to_string();
    foreign.publish("processing", "request", properties, body.as_bytes()).await
}

async fn control(foreign: &Foreign, body: &[u8]) -> Result<()> {
    foreign.publish(CONTROL, "", Properties::default(), body).await
}

/// The name of a processor's worker, as it stands in its log.
async fn worker_of(processor: &Running, id: &str) -> Result<String> {
    let started = |line: &str| {
        let line =
            json_message(line, log_messages::STARTED).filter(|line| line["requestId"] == *id)?;
        Some(line["worker"].as_str()?.to_owned())
    };
    processor.wait_for(&format!("work on {id}"), started).await
}

/// How many milliseconds it took to work on a request.
async fn took(processor: &Running, id: &Value) -> Result<u64> {
    let finished = |line: &str| {
        json_message(line, log_messages::FINISHED).filter(|line| line["requestId"] == *id)
    };
    let finished = processor.wait_for(&format!("the end of {id}"), finished).await?;
    finished["ms"].as_u64().context("no time")
}

/// Asks again and again who has what in hand, until as many workers have answered; gives what they
/// say, by request.
async fn who(
    foreign: &Foreign,
    events: &mut Messages,
    count: usize,
) -> Result<HashMap<String, Value>> {
    let limit = Instant::now() + WAIT_TIMEOUT;
    let mut answers = HashMap::new();
    while answers.len() < count {
        ensure!(Instant::now() < limit, "only these answered: {answers:?}");
        // Nobody may be there yet to hear it.
        let _heard_or_not = control(foreign, br#"{"type":"who"}"#).await;
        let again = Instant::now() + Duration::from_millis(500);
        while let Ok(event) = timeout_at(again, events.next()).await {
            let event = event?;
            ensure!(event.key == "request.started", "{event:?}");
            let event = event.json()?;
            answers.insert(event["requestId"].to_string(), event);
            if answers.len() == count {
                break;
            }
        }
    }
    Ok(answers)
}

/// Sends second attempts, which are announced however fast they are, until the free worker announces one.
async fn until_announced(foreign: &Foreign, events: &mut Messages) -> Result<()> {
    let limit = Instant::now() + WAIT_TIMEOUT;
    let mut number = 0;
    loop {
        ensure!(Instant::now() < limit, "none of {number} was announced");
        number += 1;
        let headers = arguments([("slowlane-attempt", AMQPValue::LongInt(2))]);
        let id = format!("again-{number}");
        request(foreign, &id, Properties::default().with_headers(headers)).await?;
        foreign.next(RESULTS).await?;
        let again = Instant::now() + Duration::from_millis(500);
        while let Ok(event) = timeout_at(again, events.next()).await {
            if event?.json()?["requestId"] == *id {
                return Ok(());
            }
        }
    }
}

/// A processor that works on the request `a` for an hour, and a client that has heard so.
async fn busy_processor() -> Result<(Running, Foreign, Messages)> {
    let stack = Stack::fresh().await?;
    let foreign = stack.foreign().await?;
    let processor = stack.processor(1, "1h").await?;
    request(&foreign, "a", Properties::default()).await?;
    let mut events = foreign.listen(EVENTS, "#").await?;
    who(&foreign, &mut events, 1).await?;
    Ok((processor, foreign, events))
}

fn disconnected(program: &Running) -> bool {
    program.lines().iter().any(|line| json_message(line, log_messages::DISCONNECTED).is_some())
}

#[tokio::test]
async fn a_slow_job_is_announced_with_all_that_is_known_of_it() -> Result<()> {
    let stack = Stack::fresh().await?;
    let foreign = stack.foreign().await?;
    let mut events = foreign.listen(EVENTS, "#").await?;
    let processor = stack.processor(1, "1h").await?;
    let headers = arguments([("slowlane-run", AMQPValue::LongInt(3))]);
    request(&foreign, "slow", Properties::default().with_headers(headers)).await?;
    let event = events.next().await?;
    let told = event.json()?;
    let expected = json!({
        "requestId": "slow", "event": "request.started", "at": told["at"],
        "run": 3, "attempt": 1, "delivery": 1, "worker": worker_of(&processor, "slow").await?,
    });
    assert_eq!((event.key.as_str(), &told), ("request.started", &expected));
    assert!(told["at"].as_str().is_some_and(|at| at.len() == 24 && at.ends_with('Z')), "{told}");
    let properties = &event.properties;
    assert_eq!(*properties.delivery_mode(), Some(1));
    assert_eq!(properties.message_id().as_ref().map(|id| id.as_str()), Some("slow"));
    Ok(())
}

#[tokio::test]
async fn a_fast_job_is_announced_only_if_it_was_tried_before() -> Result<()> {
    let stack = Stack::fresh().await?;
    let foreign = stack.foreign().await?;
    let mut events = foreign.listen(EVENTS, "#").await?;
    let processor = stack.processor(1, "1ms").await?;
    // Who begins to hear control messages tells of all that it has in hand: that must be over.
    processor.wait_for_message(log_messages::RECEIVING_CONTROL).await?;
    for id in ["first", "fast"] {
        request(&foreign, id, Properties::default()).await?;
        assert_eq!(foreign.next(RESULTS).await?.json()?["requestId"], id);
    }
    let headers = arguments([("slowlane-attempt", AMQPValue::LongInt(2))]);
    request(&foreign, "again", Properties::default().with_headers(headers)).await?;
    let mut told = events.next().await?.json()?;
    while told["requestId"] != "again" {
        // Even such work is slow where the machine is.
        let slow = took(&processor, &told["requestId"]).await? >= 100;
        ensure!(slow || told["requestId"] == "first", "it was announced, and not slow: {told}");
        told = events.next().await?.json()?;
    }
    assert_eq!((&told["requestId"], &told["attempt"]), (&json!("again"), &json!(2)));
    ensure!(!disconnected(&processor));
    Ok(())
}

#[tokio::test]
async fn the_heir_of_a_killed_worker_says_at_once_that_it_has_the_job() -> Result<()> {
    let stack = Stack::fresh().await?;
    let foreign = stack.foreign().await?;
    let victim = stack.processor(1, "1h").await?;
    request(&foreign, "precious", Properties::default()).await?;
    worker_of(&victim, "precious").await?;
    let mut events = foreign.listen(EVENTS, "request.started").await?;
    let heir = stack.processor(1, "1ms").await?;
    until_announced(&foreign, &mut events).await?;
    victim.kill();
    let heir = worker_of(&heir, "precious").await?;
    loop {
        let told = events.next().await?.json()?;
        if told["worker"] == *heir && told["requestId"] == "precious" {
            assert_eq!((&told["attempt"], &told["delivery"]), (&json!(1), &json!(2)), "{told}");
            return Ok(());
        }
    }
}

#[tokio::test]
async fn every_worker_that_holds_a_job_answers_who() -> Result<()> {
    let stack = Stack::fresh().await?;
    let foreign = stack.foreign().await?;
    let (one, other) = tokio::try_join!(stack.processor(2, "1h"), stack.processor(2, "1h"))?;
    for processor in [&one, &other] {
        processor.wait_for_message(log_messages::RECEIVING_CONTROL).await?;
    }
    // Each job is announced once without a question.
    let mut unasked = foreign.listen(EVENTS, "request.started").await?;
    for id in ["a", "b", "c"] {
        request(&foreign, id, Properties::default()).await?;
    }
    for _ in 0..3 {
        unasked.next().await?;
    }
    let mut events = foreign.listen(EVENTS, "request.started").await?;
    let answers = who(&foreign, &mut events, 3).await?;
    for (id, told) in answers {
        let id: String = serde_json::from_str(&id)?;
        let worker = tokio::select! { name = worker_of(&one, &id) => name, name = worker_of(&other, &id) => name };
        assert_eq!(told["worker"], worker?);
    }
    Ok(())
}

#[tokio::test]
async fn who_is_answered_again_after_all_connections_were_closed() -> Result<()> {
    let node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
    let stack = Stack::on(&node.url()).await?;
    let _processor = stack.processor(2, "1h").await?;
    let foreign = stack.foreign().await?;
    request(&foreign, "a", Properties::default()).await?;
    request(&foreign, "b", Properties::default()).await?;
    for _ in 0..2 {
        let foreign = stack.foreign().await?;
        let mut events = foreign.listen(EVENTS, "#").await?;
        who(&foreign, &mut events, 2).await?;
        node.close_all_connections().await?;
    }
    let foreign = stack.foreign().await?;
    let mut events = foreign.listen(EVENTS, "#").await?;
    who(&foreign, &mut events, 2).await.map(drop)
}

#[tokio::test]
async fn garbage_as_events_and_control_costs_no_connection() -> Result<()> {
    let stack = Stack::fresh().await?;
    let foreign = stack.foreign().await?;
    let (web, processor) = tokio::try_join!(stack.web(), stack.processor(2, "150ms"))?;
    for program in [&web.program, &processor] {
        program.wait_for_message(log_messages::RECEIVING_CONTROL).await?;
    }
    let mut events = foreign.listen(EVENTS, "#").await?;
    let id = web.accepted("first".into()).await?;
    web.result(&id).await?;
    let large = vec![b'['; 1024 * 1024];
    let garbage: [&[u8]; 8] = [
        b"",
        b"\xff\x00",
        b"[\"who\"]",
        b"{\"type\":null}",
        b"{\"type\":\"cancel\"}",
        b"{\"type\":\"cancel\",\"requestId\":{}}",
        b"{\"type\":\"dance\"}",
        &large,
    ];
    for body in garbage {
        control(&foreign, body).await?;
        for key in ["request.started", "requests.finished", "", "a.b"] {
            foreign.publish(EVENTS, key, Properties::default(), body).await?;
        }
    }
    let id = web.accepted("last".into()).await?;
    loop {
        let event = events.next().await?;
        if event.json().is_ok_and(|told| told["requestId"] == *id) {
            break;
        }
    }
    web.result(&id).await?;
    ensure!(!disconnected(&processor) && !disconnected(&web.program));
    Ok(())
}

#[tokio::test]
async fn deleted_exchanges_come_back_and_are_heard_again() -> Result<()> {
    let (processor, foreign, _) = busy_processor().await?;

    foreign.delete_exchange(EVENTS).await?;
    control(&foreign, br#"{"type":"who"}"#).await?;
    let declared = processor.wait_for_message(log_messages::DECLARED_MISSING).await?;
    assert_eq!(declared["exchange"], EVENTS);
    let mut events = foreign.listen(EVENTS, "#").await?;
    who(&foreign, &mut events, 1).await?;

    let from_now = processor.from_now();
    foreign.delete_exchange(CONTROL).await?;
    from_now.wait_for_message(log_messages::RECEIVING_CONTROL).await?;
    who(&foreign, &mut events, 1).await?;
    ensure!(!disconnected(&processor), "it cost the connection");
    Ok(())
}

#[tokio::test]
async fn refused_events_cost_requests_nothing() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let stack = Stack::on(&vhost.url).await?;
    let user = format!("quiet-{}", vhost.name);
    let but_events = r"^processing(\.(requests|results|failed|instance).*)?$";
    vhost.add_user(&user, "s3cret", &vhost.name, [".*", but_events, ".*"]).await?;
    let quiet = Stack { url: vhost.url_as(&user, "s3cret", &vhost.name) };
    let processor = quiet.processor(1, "150ms").await?;
    let foreign = stack.foreign().await?;
    for id in ["a", "b", "c"] {
        request(&foreign, id, Properties::default()).await?;
        assert_eq!(foreign.next(RESULTS).await?.json()?["requestId"], id);
    }
    let refused = processor.wait_for_message(log_messages::PUBLISHING_CHANNEL_CLOSED).await?;
    assert_eq!(refused["code"], 403, "{refused}");
    let sent_twice = foreign.depth(RESULTS).await?.messages;
    ensure!(sent_twice == 0 && !disconnected(&processor), "an event cost a request");
    Ok(())
}

#[tokio::test]
async fn nobody_is_asked_about_requests_that_are_delivered_once() -> Result<()> {
    let stack = Stack::fresh().await?;
    let foreign = stack.foreign().await?;
    let mut messages = foreign.listen(CONTROL, "").await?;
    let processor = stack.processor(2, "1ms").await?;
    processor.wait_for_message(log_messages::RECEIVING_CONTROL).await?;
    let mut results = foreign.consume(RESULTS, 1).await?;
    for number in 0..20 {
        request(&foreign, &number.to_string(), Properties::default()).await?;
    }
    for _ in 0..20 {
        results.next().await?;
    }
    // Whatever was sent came before this.
    control(&foreign, br#"{"type":"who"}"#).await?;
    assert_eq!(messages.next().await?.json()?, json!({"type": "who"}));
    Ok(())
}
