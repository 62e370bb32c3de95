//! `PREFETCH`: requests that wait in a worker go back at once when they should, and waiting costs them nothing.

use std::{
    collections::HashSet,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use pipeline::log_messages;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{
    Proxy,
    foreign::{AMQPValue, Foreign, arguments, persistent},
    process::json_message,
    program::Running,
    shared_node,
};

use crate::support::{
    faulty::{consumes_ahead, holding},
    stack::{FAILED, REQUESTS, RESULTS, Stack, Web, consuming},
    wait::{holds, settles},
};

/// What a worker logs when the requests that wait in it go back.
const HANDING_BACK: &str = "handing back the requests that wait";
/// How many requests a worker may hold.
const PREFETCH: u16 = 8;
/// How often a request is delivered at most to workers that die.
const MAX_DELIVERIES: usize = 5;

/// A worker, whose broker has this URL, that has had enough short jobs to let the broker send requests ahead.
async fn ahead(url: &str, web: &Web) -> Result<Running> {
    let stack = Stack { url: url.to_owned() };
    let program = holding(stack.faulty(1), PREFETCH).env("DRAIN_TIMEOUT", "1m");
    let worker = program.env("RUST_LOG", "info,processor_service=debug").start()?;
    consuming(&worker, 1).await?;
    consumes_ahead(&worker, web, &"short".into()).await?;
    Ok(worker)
}

/// Waits until the worker has what was sent ahead, or, on a slow machine, has handed it back already.
async fn has_what_waits(worker: &Running, foreign: &Foreign) -> Result<()> {
    settles("all requests are with the worker", async || {
        Ok(foreign.depth(REQUESTS).await?.messages == 0 || worker.has_logged(HANDING_BACK))
    })
    .await
}

/// A file for which a job waits.
struct Go(TempDir);

impl Go {
    fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("go")
    }

    /// What tells a job to wait for it.
    fn awaited(&self) -> Value {
        json!({"until": self.file()})
    }

    /// Lets the job end.
    fn say(&self) -> Result<()> {
        Ok(fs::write(self.file(), "")?)
    }
}

async fn all_accepted(web: &Web, orders: impl IntoIterator<Item = Value>) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for order in orders {
        ids.push(web.accepted(order).await?);
    }
    Ok(ids)
}

/// They are completed, each in its first delivery, after they have waited in this worker.
async fn cost_nothing(worker: &Running, web: &Web, ids: &[String]) -> Result<()> {
    for id in ids {
        let ended = web.ended(id).await?;
        let is_first = ended["status"] == "completed" && ended["deliveries"] == 1;
        ensure!(is_first, "{}", worker.error(&format!("let one become {ended}")));
    }
    Ok(())
}

async fn started(worker: &Running, id: &str) -> Result<Value> {
    let of_id = |line: &str| {
        json_message(line, log_messages::STARTED).filter(|job| job["requestId"] == *id)
    };
    worker.wait_for("its start", of_id).await
}

#[tokio::test]
async fn what_waits_goes_back_at_once_when_its_processor_is_told_to_stop() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let worker = ahead(&stack.url, &web).await?;
    let long = web.accepted(json!({"sleep": "20s"})).await?;
    started(&worker, &long).await?;
    let waiting = all_accepted(&web, (1..PREFETCH).map(Value::from)).await?;
    has_what_waits(&worker, &stack.foreign().await?).await?;
    let began = Instant::now();
    worker.terminate();
    // Another one completes them while the first still works.
    let _heir = stack.start_faulty(1, "1s").await?;
    cost_nothing(&worker, &web, &waiting).await?;
    ensure!(began.elapsed() < Duration::from_secs(15), "it took {:?}", began.elapsed());
    let (status, text) = worker.ended().await?;
    ensure!(status.success() && text.contains(HANDING_BACK), "{status}: {text}");
    cost_nothing(&worker, &web, &[long]).await
}

#[tokio::test]
async fn long_work_does_not_keep_what_waits_behind_it_from_idle_workers() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let worker = ahead(&stack.url, &web).await?;
    let long = web.accepted(json!({"sleep": "1h"})).await?;
    started(&worker, &long).await?;
    let waiting = all_accepted(&web, (1..PREFETCH).map(Value::from)).await?;
    has_what_waits(&worker, &stack.foreign().await?).await?;
    let _idle = stack.start_faulty(1, "1s").await?;
    cost_nothing(&worker, &web, &waiting).await
}

#[tokio::test]
async fn a_request_that_waits_in_a_worker_can_be_cancelled() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, foreign) = (stack.web().await?, stack.foreign().await?);
    let worker = ahead(&stack.url, &web).await?;
    let long = web.accepted(json!({"sleep": "1h"})).await?;
    started(&worker, &long).await?;
    let waiting = web.accepted(json!("waits")).await?;
    has_what_waits(&worker, &foreign).await?;
    // In this order: when the job ends, its worker knows of both.
    for id in [&waiting, &long] {
        assert_eq!(web.delete(id).await?.0, 200);
    }
    worker.wait_for_message(log_messages::CANCELLED).await?;
    let next = web.accepted(json!("next")).await?;
    cost_nothing(&worker, &web, &[next]).await?;
    let begun = |line: &String| {
        json_message(line, log_messages::STARTED).is_some_and(|job| job["requestId"] == *waiting)
    };
    // On a slow machine it may have gone back before, and then it is another worker's to begin with.
    let went_back = worker.has_logged(HANDING_BACK);
    ensure!(went_back || !worker.lines().iter().any(begun), "it has begun");
    assert_eq!(web.request(&waiting).await?["status"], "cancelled");
    Ok(())
}

/// The ids of the requests that a worker has begun with.
fn begun(worker: &Running) -> HashSet<String> {
    let id = |line: &String| {
        Some(json_message(line, log_messages::STARTED)?["requestId"].as_str()?.to_owned())
    };
    worker.lines().iter().filter_map(id).collect()
}

#[tokio::test]
async fn requests_that_wait_in_processes_that_are_killed_are_not_given_up() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let mut worker = ahead(&stack.url, &web).await?;
    let go = Go::new()?;
    let ids = all_accepted(&web, (0..PREFETCH).map(|_| go.awaited())).await?;
    started(&worker, &ids[0]).await?;
    has_what_waits(&worker, &stack.foreign().await?).await?;
    let mut killed = Vec::new();
    for _ in 1..MAX_DELIVERIES {
        worker.kill();
        worker.wait().await?;
        killed.push(begun(&worker));
        worker = holding(stack.faulty(1), PREFETCH).start()?;
        worker.wait_for_message(log_messages::STARTED).await?;
    }
    worker.kill();
    worker.wait().await?;
    killed.push(begun(&worker));
    go.say()?;
    let _heir = holding(stack.faulty(4), PREFETCH).start()?;
    let waited = ids.iter().filter(|id| !killed[0].contains(*id)).count();
    ensure!(waited > 1, "{waited} waited in the first");
    // One with which all of them had begun did not wait in them.
    let (begun_by_all, waited): (Vec<_>, Vec<_>) =
        ids.iter().partition(|id| killed.iter().all(|begun| begun.contains(*id)));
    ensure!(begun_by_all.len() <= 1, "{begun_by_all:?}");
    for id in waited {
        let ended = web.ended(id).await?;
        let deliveries = ended["deliveries"].as_u64().context("a number")?;
        ensure!(ended["status"] == "completed" && deliveries < 5, "{ended}");
    }
    let parked = stack.foreign().await?.depth(FAILED).await?.messages as usize;
    ensure!(parked <= begun_by_all.len(), "{parked} were given up");
    Ok(())
}

/// Publishes a request that has been delivered so often before.
async fn publish(foreign: &Foreign, id: &str, data: Value, before: i64) -> Result<()> {
    let body = json!({"requestId": id, "requestData": data}).to_string();
    let headers = arguments([("slowlane-deliveries", AMQPValue::LongLongInt(before))]);
    let properties = persistent().with_headers(headers);
    foreign.publish("processing", "request", properties, body.as_bytes()).await
}

/// The worker's data and the broker's answers take this long each.
async fn what_waits_goes_back_before_a_suspect_begins(delay: Duration) -> Result<()> {
    let vhost = shared_node::vhost().await;
    let stack = Stack::on(&vhost.url).await?;
    let proxy = Proxy::start(vhost.address()).await?;
    let foreign = stack.foreign().await?;
    let web = stack.web().await?;
    let worker = ahead(&proxy.url(&vhost.url), &web).await?;
    web.program.terminate();
    web.program.wait().await?;
    let go = Go::new()?;
    publish(&foreign, "first", go.awaited(), 0).await?;
    started(&worker, "first").await?;
    proxy.delay(delay);
    for (id, data, before) in [
        ("before", json!("before"), 0),
        ("killer", json!({"kill": true}), 1),
        ("after", json!("after"), 0),
        ("last", json!("last"), 0),
    ] {
        publish(&foreign, id, data, before).await?;
    }
    holds(&foreign, REQUESTS, |messages| messages >= 3).await?;
    go.say()?;
    worker.wait().await?;
    let _heir = holding(stack.faulty(1), PREFETCH).start()?;
    let mut results = foreign.consume(RESULTS, 1).await?;
    let mut left = vec!["before", "after", "last"];
    while !left.is_empty() {
        let result = results.next().await?;
        let id = result.json()?["requestId"].clone();
        ensure!(id != "killer", "it kills");
        // The ack of the first one may not have reached the broker before the kill: then it is done twice.
        let deliveries = result.header("slowlane-deliveries");
        if id != "first" && deliveries.as_deref() != Some("1") {
            return Err(worker.error(&format!("let {id} have deliveries: {deliveries:?}")));
        }
        left.retain(|other| id != *other);
    }
    Ok(())
}

#[tokio::test]
async fn what_waits_with_a_suspect_in_the_same_worker_goes_back_before_that_begins() -> Result<()> {
    what_waits_goes_back_before_a_suspect_begins(Duration::ZERO).await
}

/// A hand-back takes several times as long, which is longer than it may take at a stop. The suspect goes back too: it waits
/// for over a second.
#[tokio::test]
async fn what_waits_with_a_suspect_costs_nothing_when_the_broker_takes_seconds_to_confirm()
-> Result<()> {
    what_waits_goes_back_before_a_suspect_begins(Duration::from_millis(450)).await
}

#[tokio::test]
async fn requests_that_wait_while_the_connection_is_lost_count_no_delivery_as_a_death() -> Result<()>
{
    let vhost = shared_node::vhost().await;
    let stack = Stack::on(&vhost.url).await?;
    let proxy = Proxy::start(vhost.address()).await?;
    let web = stack.web().await?;
    let worker = ahead(&proxy.url(&vhost.url), &web).await?;
    let ids = all_accepted(&web, (0..PREFETCH).map(|_| json!({"sleep": "300ms"}))).await?;
    for _ in 0..MAX_DELIVERIES + 1 {
        let away = worker.from_now();
        proxy.cut();
        away.wait_for_message(log_messages::RECEIVING_CONTROL).await?;
    }
    for id in ids {
        assert_eq!(web.ended(&id).await?["status"], "completed");
    }
    assert_eq!(stack.foreign().await?.depth(FAILED).await?.messages, 0);
    Ok(())
}
