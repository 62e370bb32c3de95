//! The failed queue: each message is kept, ends its request, and holds up nothing.

mod nonsense;

use std::pin::pin;

use anyhow::{Context, Result, bail, ensure};
use pipeline::log_messages;
use serde_json::{Value, json};
use testbed::{
    Proxy,
    foreign::{AMQPValue, Foreign, arguments, persistent},
    process::json_message,
    shared_node,
};

use crate::support::{
    database::Database,
    stack::{FAILED, REQUESTS, RESULTS, Stack, Web},
    wait::holds,
};

/// How often the broker delivers a message at most, before it gives up.
const DELIVERY_LIMIT: usize = 20;
/// How often a web service puts a request back that the broker gave up.
const PUT_BACKS: usize = 20;
/// How many workers such a request may end at most.
const MAX_TAKEN: usize = (DELIVERY_LIMIT + 1) * (PUT_BACKS + 1);

/// Takes the next message of a queue and rejects it, so that it is a dead letter.
async fn reject(foreign: &Foreign, queue: &str) -> Result<()> {
    let delivery = foreign.consume(queue, 1).await?.next_unacked().await?;
    let options = testbed::foreign::RejectOptions { requeue: false };
    delivery.reject(options).await.context("a reject").map(drop)
}

#[tokio::test]
async fn a_request_that_a_worker_rejects_has_failed() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let id = web.accepted("a".into()).await?;
        reject(&stack.foreign().await?, REQUESTS).await?;
        let failed = web.ended(&id).await?;
        assert_eq!(
            (&failed["status"], &failed["error"]["code"]),
            (&json!("failed"), &json!("permanent"))
        );
        // The message is kept as it was posted.
        assert_eq!(database.number("SELECT count(*) FROM parked").await?, 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_delivered_too_often_has_failed() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let id = web.accepted("a".into()).await?;
    let failed = taken_until_ended(&stack, &web, &id).await?;
    let code = &failed["error"]["code"];
    assert_eq!((&failed["status"], code), (&json!("failed"), &json!("delivery_limit")));
    Ok(())
}

/// Takes the request with workers that crash until it has ended. Each of them may take its time.
async fn taken_until_ended(stack: &Stack, web: &Web, id: &str) -> Result<Value> {
    let mut ended = pin!(web.ended(id));
    let mut worker = stack.foreign().await?;
    for _ in 0..=MAX_TAKEN {
        let mut deliveries = worker.consume(REQUESTS, 1).await?;
        tokio::select! {
            ended = &mut ended => return ended,
            delivery = deliveries.next_unacked() => drop(delivery?),
        }
        // It goes back with its channel, as from a worker that has crashed.
        worker.replace_channel().await?;
    }
    bail!("it was taken more than {MAX_TAKEN} times")
}

/// The broker notes each time that it takes a message out of a queue: also out of one where it waits.
#[tokio::test]
async fn a_request_that_has_waited_for_its_next_attempt_did_not_expire() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let foreign = stack.foreign().await?;
    let text = |text: &str| AMQPValue::LongString(text.into());
    let waiting = arguments([
        ("x-message-ttl", AMQPValue::LongInt(1)),
        ("x-dead-letter-exchange", text("processing")),
        ("x-dead-letter-routing-key", text("request")),
    ]);
    foreign.declare_queue("processing.retry.1", waiting).await?;
    for code in ["permanent", "delivery_limit"] {
        let id = web.accepted("a".into()).await?;
        let request = foreign.next(REQUESTS).await?;
        let properties = request.properties.clone();
        foreign.publish("", "processing.retry.1", properties, &request.body).await?;
        let ended = match code {
            "permanent" => {
                reject(&foreign, REQUESTS).await?;
                web.ended(&id).await?
            }
            _ => taken_until_ended(&stack, &web, &id).await?,
        };
        assert_eq!(ended["error"]["code"], code);
    }
    let id = web.accepted("a".into()).await?;
    let request = foreign.next(REQUESTS).await?;
    let properties = request.properties.clone().with_expiration("1".into());
    foreign.publish("processing", "request", properties, &request.body).await?;
    assert_eq!(web.ended(&id).await?["error"]["code"], "expired");
    Ok(())
}

#[tokio::test]
async fn a_result_that_became_a_dead_letter_is_still_the_result() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let id = web.accepted("a".into()).await?;
        web.program.kill();
        web.program.wait().await?;
        let foreign = stack.foreign().await?;
        let body = json!({"requestId": id, "processingResults": "found"}).to_string();
        foreign.publish("processing", "result", persistent(), body.as_bytes()).await?;
        reject(&foreign, RESULTS).await?;
        holds(&foreign, FAILED, |letters| letters == 1).await?;
        let web = database.web(&stack).await?;
        let completed = web.ended(&id).await?;
        assert_eq!(
            (&completed["status"], &completed["processingResults"]),
            (&json!("completed"), &json!("found"))
        );
        assert_eq!(database.number("SELECT count(*) FROM parked").await?, 0);
    }
    Ok(())
}

#[tokio::test]
async fn a_broken_result_ends_the_request_that_its_properties_name() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let id = web.accepted("a".into()).await?;
    let properties = persistent().with_correlation_id(id.as_str().into());
    let broken = b"{\"requestId\":\"";
    stack.foreign().await?.publish("processing", "result", properties, broken).await?;
    let failed = web.ended(&id).await?;
    let code = &failed["error"]["code"];
    assert_eq!((&failed["status"], code), (&json!("failed"), &json!("malformed")));
    Ok(())
}

#[tokio::test]
async fn nonsense_on_the_failed_queue_is_kept_and_blocks_nothing() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let foreign = stack.foreign().await?;
        let nonsense = nonsense::messages();
        for (properties, body) in &nonsense {
            foreign
                .publish("processing", "failed", properties.clone(), body)
                .await
                .with_context(|| format!("{properties:?}"))?;
        }
        let id = web.accepted("a".into()).await?;
        reject(&foreign, REQUESTS).await?;
        assert_eq!(web.ended(&id).await?["status"], "failed");
        holds(&foreign, FAILED, |letters| letters == 0).await?;
        let kept = database.number("SELECT count(*) FROM parked").await?;
        assert_eq!(kept, nonsense.len() as i64 + 1);
        let long = "SELECT count(*) FROM parked WHERE length(body) = 15728640";
        assert_eq!(database.number(long).await?, 1);
        web.ready().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_letter_that_comes_again_after_a_kill_is_kept_once() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let stack = Stack::on(&vhost.url).await?;
    let database = Database::postgres().await;
    let proxy = Proxy::start(vhost.address()).await?;
    let web = database.web(&Stack { url: proxy.url(&vhost.url) }).await?;
    // The service is ready before this connection is.
    let hears_letters = |line: &str| {
        json_message(line, log_messages::CONSUMING).filter(|line| line["queue"] == FAILED)
    };
    web.program.wait_for("a consumer of the failed queue", hears_letters).await?;
    let id = web.accepted("a".into()).await?;
    // From now on it hears the broker, and the broker doesn't hear it.
    proxy.mute();
    let foreign = stack.foreign().await?;
    foreign.publish("processing", "failed", persistent(), b"no JSON").await?;
    reject(&foreign, REQUESTS).await?;
    let failed = web.ended(&id).await?;
    let parked = async |web: &Web| {
        let mut parked = 0;
        let both = |line: &str| {
            parked += usize::from(json_message(line, log_messages::PARKED).is_some());
            (parked == 2).then_some(())
        };
        web.program.wait_for("two parked messages", both).await
    };
    parked(&web).await?;
    web.program.kill();
    web.program.wait().await?;
    proxy.cut();
    let other = database.web(&stack).await?;
    parked(&other).await?;
    assert_eq!(database.number("SELECT count(*) FROM parked").await?, 2);
    assert_eq!(other.request(&id).await?, failed);
    Ok(())
}

#[tokio::test]
async fn a_failed_queue_that_is_deleted_is_there_again_and_heard() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let foreign = stack.foreign().await?;
    for n in 0..3 {
        let from_now = web.program.from_now();
        foreign.delete_queue(FAILED).await?;
        let consuming = |line: &str| {
            json_message(line, log_messages::CONSUMING).filter(|line| line["queue"] == FAILED)
        };
        from_now.wait_for("a consumer of the failed queue", consuming).await?;
        let id = web.accepted(n.into()).await?;
        reject(&foreign, REQUESTS).await?;
        let failed: Value = web.ended(&id).await?;
        ensure!(failed["error"]["code"] == "permanent", "{failed}");
    }
    Ok(())
}
