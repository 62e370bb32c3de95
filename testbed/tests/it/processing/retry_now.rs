//! A request that waits for its next attempt begins at once, and nobody works on the copy that waits in the broker.

use anyhow::{Result, ensure};
use pipeline::log_messages::{CANCELLED_BEFORE_START, RECEIVING_CONTROL};
use serde_json::{Value, json};
use testbed::{
    Proxy,
    foreign::{Foreign, Messages, Properties},
    process::json_message,
    shared_node,
};
use uuid::Uuid;

use crate::support::{
    database::Database,
    faulty::began,
    foreign_worker::{fail, next_request},
    slowlane::run_slowlane,
    stack::{REQUESTS, Stack, Web},
    wait::{drained, holds, settles},
};

/// When a request waits for its next attempt that would begin in an hour.
const LATER: &str = "2099-01-01T00:00:00.000Z";

/// Waits until the request is shown to wait for its next attempt.
async fn waits(web: &Web, id: &str, attempts: u32) -> Result<Value> {
    let mut seen = Value::Null;
    settles("it waits for its next attempt", async || {
        seen = web.request(id).await?;
        Ok(seen["attempts"] == attempts && seen["nextAttemptAt"].is_string())
    })
    .await?;
    Ok(seen)
}

async fn event(foreign: &Foreign, name: &str, body: &Value) -> Result<()> {
    let body = body.to_string();
    foreign.publish("processing.events", name, Properties::default(), body.as_bytes()).await
}

/// Has a request wait for its third attempt, as its worker tells. Its messages are gone.
async fn waiting(web: &Web, foreign: &Foreign) -> Result<String> {
    let id = web.accepted("x".into()).await?;
    next_request(foreign).await?;
    let error = json!({"code": "busy", "message": "come back later"});
    let retrying = json!({"requestId": id, "attempt": 2, "error": error, "nextAttemptAt": LATER});
    event(foreign, "request.retrying", &retrying).await?;
    waits(web, &id, 2).await?;
    Ok(id)
}

/// The next request that workers are told to stop, and up to which run.
async fn told_to_stop(control: &mut Messages) -> Result<(Value, Value)> {
    loop {
        let mut said = control.next().await?.json()?;
        if said["type"] == "cancel" {
            return Ok((said["requestId"].take(), said["run"].take()));
        }
    }
}

#[tokio::test]
async fn attempts_that_begin_at_once_count_on_and_their_waiting_copies_are_worked_on_by_nobody()
-> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let processor = stack.start_faulty(1, "10s").await?;
        // Events and control messages may be missed before.
        web.program.wait_for_message(RECEIVING_CONTROL).await?;
        processor.wait_for_message(RECEIVING_CONTROL).await?;
        let id = web.accepted(json!({"fail": 2})).await?;
        for attempts in [1, 2] {
            waits(&web, &id, attempts).await?;
            assert_eq!(web.retry_now(&id).await?, (202, json!({"requestId": id})));
        }
        let done = web.ended(&id).await?;
        assert_eq!(
            (&done["status"], &done["attempts"], &done["run"]),
            (&json!("completed"), &json!(3), &json!(2)),
            "{done}"
        );
        let mut obsolete = 0;
        let both = |line: &str| {
            obsolete += usize::from(json_message(line, CANCELLED_BEFORE_START).is_some());
            (obsolete == 2).then_some(())
        };
        processor.wait_for("the copies that waited", both).await?;
        assert_eq!(began(&processor, &id)?.len(), 3, "each attempt was made once");
        assert_eq!(web.request(&id).await?, done);
    }
    Ok(())
}

#[tokio::test]
async fn the_attempt_is_the_next_one_and_workers_are_told_that_the_one_that_waits_is_obsolete()
-> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        web.program.wait_for_message(RECEIVING_CONTROL).await?;
        let foreign = stack.foreign().await?;
        let mut control = foreign.listen("processing.control", "").await?;
        let id = waiting(&web, &foreign).await?;
        let other = web.accepted("y".into()).await?;
        next_request(&foreign).await?;
        assert_eq!(web.retry_now(&id).await?.0, 202);
        assert_eq!(told_to_stop(&mut control).await?, (json!(id), json!(0)));
        let queued = web.request(&id).await?;
        let (status, run, attempts) = (&queued["status"], &queued["run"], &queued["attempts"]);
        assert_eq!((status, run, attempts), (&json!("queued"), &json!(1), &json!(2)));
        ensure!(queued["nextAttemptAt"].is_null(), "{queued}");
        assert_eq!(queued["lastError"], "come back later");
        let published = next_request(&foreign).await?;
        assert_eq!(published.json()?, json!({"requestId": id, "requestData": "x"}));
        for (name, value) in [("slowlane-run", "1"), ("slowlane-attempt", "3")] {
            assert_eq!(published.header(name).as_deref(), Some(value), "{name}");
        }
        // A worker that missed that, and one that does what it should.
        let started = |id: &str, run: u32| json!({"requestId": id, "run": run, "worker": "a:1/1"});
        event(&foreign, "request.started", &started(&id, 1)).await?;
        event(&foreign, "request.started", &started(&id, 0)).await?;
        assert_eq!(told_to_stop(&mut control).await?, (json!(id), json!(0)));
        assert_eq!(web.delete(&other).await?.0, 200);
        assert_eq!(told_to_stop(&mut control).await?.0, json!(other), "the later run goes on");
        // What comes late of the run before changes nothing.
        fail(&foreign, &id, 0).await?;
        fail(&foreign, &id, 1).await?;
        assert_eq!(web.ended(&id).await?["error"]["message"], "no coffee in run 1");
    }
    Ok(())
}

#[tokio::test]
async fn only_what_waits_for_a_time_is_retried_now() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let foreign = stack.foreign().await?;
    let queued = web.accepted("a".into()).await?;
    next_request(&foreign).await?;
    let due = web.accepted("b".into()).await?;
    let past = "2026-11-21T09:54:22.988Z";
    let retrying = json!({"requestId": due, "attempt": 1, "nextAttemptAt": past});
    event(&foreign, "request.retrying", &retrying).await?;
    waits(&web, &due, 1).await?;
    next_request(&foreign).await?;
    let begun = waiting(&web, &foreign).await?;
    event(&foreign, "request.started", &json!({"requestId": begun, "attempt": 3})).await?;
    settles("its work", async || Ok(web.request(&begun).await?["status"] == "processing")).await?;
    let failed = web.failed(&foreign, "c".into()).await?;
    for (id, status, kind, detail) in [
        (queued.as_str(), 409, "not-waiting", "waits for a worker"),
        (&due, 409, "not-waiting", "waits for a worker"),
        (&begun, 409, "not-waiting", "being worked on"),
        (&failed, 409, "not-waiting", "It is failed"),
        (&Uuid::now_v7().to_string(), 404, "not-found", ""),
        ("nonsense", 404, "not-found", ""),
    ] {
        let (answered, problem) = web.retry_now(id).await?;
        assert_eq!((answered, &problem["type"]), (status, &json!(kind)), "{id}");
        ensure!(problem["detail"].to_string().contains(detail), "{problem}");
    }
    assert_eq!(foreign.depth(REQUESTS).await?.messages, 0, "nothing was sent");
    Ok(())
}

#[tokio::test]
async fn of_two_retries_at_once_on_two_services_one_is_worked_on_to_the_end() -> Result<()> {
    let stack = Stack::fresh().await?;
    let database = Database::postgres().await;
    let (one, other) = tokio::try_join!(database.web(&stack), database.web(&stack))?;
    let foreign = stack.foreign().await?;
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(waiting(&one, &foreign).await?);
    }
    for id in &ids {
        let (here, there) = tokio::try_join!(one.retry_now(id), other.retry_now(id))?;
        let statuses = [here.0, there.0];
        ensure!(statuses.contains(&202), "{here:?} {there:?}");
        ensure!(statuses.iter().all(|status| [202, 409].contains(status)), "{statuses:?}");
    }
    let _processor = stack.processor(4, "1ms").await?;
    for id in &ids {
        let done = other.ended(id).await?;
        assert_eq!((&done["status"], &done["attempts"]), (&json!("completed"), &json!(3)));
    }
    drained(&foreign).await
}

/// A web service whose way to the broker can be held up, and another one that is not, on one database.
struct Scene {
    stack: Stack,
    proxy: Proxy,
    held: Web,
    other: Web,
    foreign: Foreign,
}

impl Scene {
    async fn open(publish_timeout: &str) -> Result<Self> {
        let vhost = shared_node::vhost().await;
        let proxy = Proxy::start(vhost.address()).await?;
        let stack = Stack::on(&vhost.url).await?;
        let database = Database::postgres().await;
        let behind = Stack { url: proxy.url(&stack.url) };
        let held = database.program(&behind).env("PUBLISH_TIMEOUT", publish_timeout);
        let (held, other) = (Web::start(held).await?, database.web(&stack).await?);
        let foreign = stack.foreign().await?;
        Ok(Self { stack, proxy, held, other, foreign })
    }
}

#[tokio::test]
async fn an_attempt_of_which_nobody_knows_whether_it_was_sent_can_be_begun_again() -> Result<()> {
    let Scene { stack, proxy, held, other, foreign } = Scene::open("4s").await?;
    let id = waiting(&other, &foreign).await?;
    proxy.hold_answers();
    let (status, problem) = held.retry_now(&id).await?;
    assert_eq!((status, &problem["type"]), (503, &json!("outcome-unknown")), "{problem}");
    ensure!(problem["requestId"] == *id && problem["detail"].to_string().contains("same call"));
    let waits = other.request(&id).await?;
    ensure!(waits["run"] == 0 && waits["nextAttemptAt"] == LATER, "the copy counts: {waits}");
    assert_eq!(other.retry_now(&id).await?.0, 202);
    assert_eq!(other.request(&id).await?["run"], 2, "each call has a run of its own");
    proxy.resume();
    let _processor = stack.processor(1, "1ms").await?;
    assert_eq!(other.ended(&id).await?["processingResults"], "x-processed");
    drained(&foreign).await
}

#[tokio::test]
async fn killed_between_publish_and_commit_the_attempt_and_the_waiting_copy_both_count()
-> Result<()> {
    for by_copy in [false, true] {
        let Scene { stack, proxy, held, other, foreign } = Scene::open("50s").await?;
        let id = waiting(&other, &foreign).await?;
        proxy.hold_answers();
        let lost = held.client.post(format!("{}/api/v1/requests/{id}/retry-now", held.base));
        let _lost = tokio::spawn(lost.send());
        holds(&foreign, REQUESTS, |messages| messages == 1).await?;
        held.program.kill();
        held.program.wait().await?;
        let waits = other.request(&id).await?;
        ensure!(waits["run"] == 0 && waits["nextAttemptAt"] == LATER, "{waits}");
        if by_copy {
            foreign.purge(REQUESTS).await?;
            let copy = json!({"requestId": id, "requestData": "x"}).to_string();
            foreign
                .publish("processing", "request", Properties::default(), copy.as_bytes())
                .await?;
        }
        let _processor = stack.processor(1, "1ms").await?;
        let done = other.ended(&id).await?;
        assert_eq!(done["processingResults"], "x-processed", "{by_copy}: {done}");
        drained(&foreign).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_command_line_begins_an_attempt_at_once_and_waits_for_its_end() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.start_faulty(1, "1h"))?;
    let id = web.accepted(json!({"fail": 1})).await?;
    waits(&web, &id, 1).await?;
    let said = run_slowlane(&web.base, &["retry-now", &id, "--wait", "1m"]).await?;
    ensure!(said.code == Some(0) && said.has_line("{\"fail\":1}"), "{}", said.text);
    ensure!(said.text.contains(&format!("attempt 2 at {id} begins now")), "{}", said.text);
    let said = run_slowlane(&web.base, &["retry-now", &id]).await?;
    ensure!(said.code == Some(1) && said.text.contains("It is completed"), "{}", said.text);
    let said = run_slowlane(&web.base, &["retry-now"]).await?;
    ensure!(said.code == Some(2), "{}", said.text);
    Ok(())
}
