//! Cancelling a request: nothing that comes later changes it, and its work is stopped.

use anyhow::{Context, Result, ensure};
use pipeline::log_messages;
use serde_json::json;
use testbed::{
    Program, Proxy,
    foreign::{AMQPValue, Foreign, Messages, Properties, arguments},
    shared_node,
};
use uuid::Uuid;

use crate::support::{
    database::Database,
    event_stream::Stream,
    requests::LOG_WAITERS,
    stack::{REQUESTS, RESULTS, Stack, Web},
    wait::{holds, settles},
};

/// A web service on this database that tells who waits.
fn telling(database: &Database, stack: &Stack) -> Program {
    database.program(stack).env("RUST_LOG", LOG_WAITERS)
}

async fn started(foreign: &Foreign, id: &str, run: u32) -> Result<()> {
    let event = json!({"requestId": id, "run": run, "worker": "elsewhere:1/1"}).to_string();
    let properties = Properties::default();
    foreign.publish("processing.events", "request.started", properties, event.as_bytes()).await
}

/// The next request that workers are told to stop, and up to which run.
async fn told_to_stop(control: &mut Messages) -> Result<(String, u64)> {
    loop {
        let said = control.next().await?.json()?;
        if said["type"] == "cancel" {
            let id = said["requestId"].as_str().context("a requestId")?;
            return Ok((id.to_owned(), said["run"].as_u64().context("a run")?));
        }
    }
}

#[tokio::test]
async fn a_queued_request_is_cancelled_and_all_who_wait_hear_of_it() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = Web::start(telling(&database, &stack)).await?;
        let foreign = stack.foreign().await?;
        let mut control = foreign.listen("processing.control", "").await?;
        let mut events = foreign.listen("processing.events", "requests.finished").await?;
        let id = web.accepted("a".into()).await?;
        let mut stream = Stream::of(&web, &id).await?;
        let (ended, cancelled) = tokio::join!(web.ended(&id), async {
            web.is_waited_at_by(2).await?;
            web.delete(&id).await
        });
        let (status, shown) = cancelled?;
        assert_eq!((status, &shown["status"]), (200, &json!("cancelled")), "{shown}");
        ensure!(shown["finishedAt"].is_string() && shown["error"].is_null(), "{shown}");
        assert_eq!(ended?, shown);
        assert_eq!(stream.status("cancelled").await?, shown);
        ensure!(stream.next().await?.is_none(), "the stream is over");
        assert_eq!(told_to_stop(&mut control).await?, (id.clone(), 0));
        let told = events.next().await?.json()?;
        assert_eq!(told["requests"], json!([{"requestId": id, "status": "cancelled"}]));

        let (status, problem) = web.delete(&id).await?;
        assert_eq!((status, &problem["type"]), (409, &json!("already-ended")));
        let _processor = stack.processor(1, "1ms").await?;
        web.program.wait_for_message(log_messages::RESULT_DROPPED).await?;
        assert_eq!(web.request(&id).await?, shown, "its result came too late");
    }
    Ok(())
}

#[tokio::test]
async fn only_what_has_not_ended_can_be_cancelled() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.processor(1, "1ms"))?;
    let id = web.accepted("a".into()).await?;
    let done = web.ended(&id).await?;
    for (id, status, kind) in [
        (id.as_str(), 409, "already-ended"),
        (&Uuid::now_v7().to_string(), 404, "not-found"),
        ("nonsense", 404, "not-found"),
    ] {
        let (answered, problem) = web.delete(id).await?;
        assert_eq!((answered, &problem["type"]), (status, &json!(kind)), "{id}");
    }
    assert_eq!(web.request(&id).await?, done);
    Ok(())
}

/// As another program may spell it. The web services know the UUID alone.
#[tokio::test]
async fn a_cancel_finds_the_worker_of_an_id_in_upper_case() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let foreign = stack.foreign().await?;
    let id = web.accepted("a".into()).await?;
    foreign.next(REQUESTS).await?;
    let request = json!({"requestId": id.to_uppercase(), "requestData": "a"}).to_string();
    foreign.publish("processing", "request", Properties::default(), request.as_bytes()).await?;
    let processor = stack.processor(1, "10m").await?;
    settles("its worker", async || Ok(web.request(&id).await?["status"] == "processing")).await?;
    assert_eq!(web.delete(&id).await?.0, 200);
    processor.wait_for_message(log_messages::CANCELLED).await.map(drop)
}

/// The worker hears nothing of the cancel, and is told when it says what it has in hand.
#[tokio::test]
async fn work_on_what_was_cancelled_is_stopped_also_after_all_have_restarted() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let gone = web.accepted("a".into()).await?;
        let later = web.accepted("b".into()).await?;
        let wanted = web.accepted("c".into()).await?;
        for id in [&gone, &later] {
            assert_eq!(web.delete(id).await?.0, 200);
        }
        web.program.kill();
        web.program.wait().await?;
        let web = database.web(&stack).await?;
        web.program.wait_for_message(log_messages::RECEIVING_CONTROL).await?;
        let foreign = stack.foreign().await?;
        let mut control = foreign.listen("processing.control", "").await?;
        started(&foreign, &wanted, 0).await?;
        started(&foreign, &gone, 0).await?;
        assert_eq!(told_to_stop(&mut control).await?, (gone.clone(), 0));
        started(&foreign, &wanted, 0).await?;
        started(&foreign, &later, 3).await?;
        assert_eq!(told_to_stop(&mut control).await?, (later, 3));
        assert_eq!(web.request(&gone).await?["status"], "cancelled");
        assert_eq!(web.request(&wanted).await?["status"], "processing");
        assert_eq!(web.list("status=processing").await?["items"][0]["requestId"], *wanted);
    }
    Ok(())
}

/// The worker has lost the broker and works on. A cancel that it misses reaches it when it tells of its work,
/// and nobody else can: its request waits in the queue.
#[tokio::test]
async fn a_worker_that_was_away_tells_what_it_has_in_hand_without_being_asked() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let stack = Stack::on(&vhost.url).await?;
    let proxy = Proxy::start(vhost.address()).await?;
    let worker = Stack { url: proxy.url(&vhost.url) }.start_faulty(1, "1s").await?;
    let foreign = stack.foreign().await?;
    let mut events = foreign.listen("processing.events", "request.started").await?;
    let request = json!({"requestId": "me", "requestData": {"hang": true}}).to_string();
    foreign.publish("processing", "request", Properties::default(), request.as_bytes()).await?;
    let told = events.next().await?.json()?;
    proxy.refuse().await?;
    proxy.cut();
    worker.wait_for_message(log_messages::DISCONNECTED).await?;
    holds(&foreign, REQUESTS, |requests| requests == 1).await?;
    proxy.accept().await?;
    assert_eq!(events.next().await?.json()?, told);
    let cancel = json!({"type": "cancel", "requestId": "me"}).to_string();
    foreign.publish("processing.control", "", Properties::default(), cancel.as_bytes()).await?;
    worker.wait_for_message(log_messages::CANCELLED).await.map(drop)
}

/// A replay is published before it is recorded: its work must not be taken for needless.
#[tokio::test]
async fn work_on_what_has_failed_is_stopped_unless_it_is_of_a_later_run() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    web.program.wait_for_message(log_messages::RECEIVING_CONTROL).await?;
    let (id, other) = (web.accepted("a".into()).await?, web.accepted("b".into()).await?);
    let foreign = stack.foreign().await?;
    let mut control = foreign.listen("processing.control", "").await?;
    let result = json!({"requestId": id, "error": {"code": "teapot", "message": "no"}}).to_string();
    foreign.publish("processing", "result", Properties::default(), result.as_bytes()).await?;
    web.ended(&id).await?;
    assert_eq!(web.delete(&other).await?.0, 200);
    assert_eq!(told_to_stop(&mut control).await?.0, other);
    started(&foreign, &id, 1).await?;
    started(&foreign, &other, 0).await?;
    assert_eq!(told_to_stop(&mut control).await?, (other, 0));
    started(&foreign, &id, 0).await?;
    assert_eq!(told_to_stop(&mut control).await?, (id.clone(), 0));
    assert_eq!(web.request(&id).await?["status"], "failed", "an event is not believed");
    Ok(())
}

/// One worker lost the broker at work and another began; the first one's result comes all the same.
#[tokio::test]
async fn work_on_what_another_worker_completed_meanwhile_is_stopped() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    web.program.wait_for_message(log_messages::RECEIVING_CONTROL).await?;
    let (done, other) = (web.accepted("a".into()).await?, web.accepted("b".into()).await?);
    let foreign = stack.foreign().await?;
    let mut control = foreign.listen("processing.control", "").await?;
    for (id, worker) in [(&done, "elsewhere:1/1"), (&other, "another:1/1")] {
        started(&foreign, id, 0).await?;
        Stream::of(&web, id).await?.status("processing").await?;
        let result = json!({"requestId": id, "processingResults": 1}).to_string();
        let headers = arguments([("slowlane-worker", AMQPValue::LongString(worker.into()))]);
        let properties = Properties::default().with_headers(headers);
        foreign.publish("processing", "result", properties, result.as_bytes()).await?;
    }
    assert_eq!(told_to_stop(&mut control).await?, (other, 0), "the first was the same worker");
    assert_eq!(web.ended(&done).await?["status"], "completed");
    Ok(())
}

#[tokio::test]
async fn a_cancel_that_is_not_answered_can_be_repeated_when_the_store_is_back() -> Result<()> {
    let stack = Stack::fresh().await?;
    let database = Database::sqlite()?;
    let web = Web::start(database.program(&stack).env("PUBLISH_TIMEOUT", "4s")).await?;
    let id = web.accepted("a".into()).await?;
    let locked = database.lock()?;
    let (status, problem) = web.delete(&id).await?;
    assert_eq!((status, &problem["type"]), (503, &json!("unavailable")));
    ensure!(problem["detail"].to_string().contains("may have been cancelled"), "{problem}");
    drop(locked);
    web.ready().await?;
    let (status, _) = web.delete(&id).await?;
    ensure!([200, 409].contains(&status), "{status}");
    assert_eq!(web.request(&id).await?["status"], "cancelled");
    holds(&stack.foreign().await?, RESULTS, |results| results == 0).await
}

#[tokio::test]
async fn a_cancel_whose_commit_was_not_answered_is_announced() -> Result<()> {
    let (stack, database) = (Stack::fresh().await?, Database::postgres().await);
    let (web, proxy) = database.web_behind_proxy(&stack).await?;
    let foreign = stack.foreign().await?;
    let mut control = foreign.listen("processing.control", "").await?;
    let id = web.failed(&foreign, "a".into()).await?;
    assert_eq!(web.replay(&id).await?.0, 202);
    let mut events = foreign.listen("processing.events", "requests.finished").await?;
    let (status, _) = database.lose_answer(&proxy, web.delete(&id)).await?;
    assert_eq!(status, 409, "it is cancelled already");
    assert_eq!(told_to_stop(&mut control).await?, (id.clone(), 1));
    let told = events.next().await?.json()?;
    assert_eq!(told["requests"], json!([{"requestId": id, "status": "cancelled"}]));
    Ok(())
}
