//! The status `processing`: which worker has a request, its progress, and what follows when the worker is lost.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use pipeline::log_messages;
use serde_json::{Value, json};
use testbed::{
    foreign::{Foreign, Properties},
    program::Running,
};
use tokio::time::timeout;

use crate::support::{
    database::Database,
    event_stream::Stream,
    slowlane::slowlane,
    stack::{Stack, Web},
};

/// How long a stream may take to learn that it has ended: it looks at its request every few seconds.
const END_TIMEOUT: Duration = Duration::from_secs(60);

/// A web service that has begun to listen to events.
async fn listening(stack: &Stack) -> Result<Web> {
    let web = stack.web().await?;
    web.program.wait_for_message(log_messages::RECEIVING_CONTROL).await?;
    Ok(web)
}

/// The ids on a page of a list, and where it goes on.
async fn ids(web: &Web, query: &str) -> Result<(Vec<String>, Option<String>)> {
    let page = web.list(query).await?;
    let items = page["items"].as_array().context("items")?;
    let ids = items.iter().filter_map(|item| Some(item["requestId"].as_str()?.to_owned()));
    Ok((ids.collect(), page["nextCursor"].as_str().map(str::to_owned)))
}

async fn event(foreign: &Foreign, name: &str, body: &Value) -> Result<()> {
    let body = body.to_string();
    foreign.publish("processing.events", name, Properties::default(), body.as_bytes()).await
}

/// The name of the only worker of a processor, as it stands in its log.
async fn worker_of(processor: &Running) -> Result<Value> {
    Ok(processor.wait_for_message(log_messages::STARTED).await?["worker"].clone())
}

#[tokio::test]
async fn a_slow_job_is_shown_on_every_web_service_also_on_one_that_starts_later() -> Result<()> {
    let stack = Stack::fresh().await?;
    let database = Database::postgres().await;
    let (one, other) = tokio::try_join!(database.web(&stack), database.web(&stack))?;
    let id = one.accepted("slow".into()).await?;
    let mut streams = [Stream::of(&one, &id).await?, Stream::of(&other, &id).await?];
    let processor = stack.processor(1, "1h").await?;
    let worker = worker_of(&processor).await?;
    let mut seen = Vec::new();
    for stream in &mut streams {
        seen.push(stream.status("processing").await?);
    }
    let late = database.web(&stack).await?;
    seen.push(Stream::of(&late, &id).await?.status("processing").await?);
    for web in [&one, &other, &late] {
        seen.push(web.request(&id).await?);
        assert_eq!(ids(web, "status=processing").await?.0, [id.as_str()]);
        assert_eq!(ids(web, "status=queued").await?.0, [""; 0]);
        let queued: Value =
            web.get("/api/v1/requests?status=queued&count=true").await?.json().await?;
        assert_eq!(queued["count"], 0, "{queued}");
    }
    for request in seen {
        assert_eq!((&request["status"], &request["worker"]), (&json!("processing"), &worker));
        ensure!(request["startedAt"].is_string() && request["attempts"] == 1, "{request}");
        ensure!(request["deliveries"] == 1, "{request}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_worked_on_is_listed_newest_first_page_by_page() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let mut posted = Vec::new();
    for n in 0..4 {
        posted.push(web.accepted(n.into()).await?);
    }
    let waiting = posted.pop().context("four were posted")?;
    let _processor = stack.processor(3, "1h").await?;
    for id in &posted {
        Stream::of(&web, id).await?.status("processing").await?;
    }
    posted.reverse();
    let (first, cursor) = ids(&web, "status=processing&limit=2").await?;
    let cursor = cursor.context("a second page")?;
    let (second, end) = ids(&web, &format!("status=processing&limit=2&cursor={cursor}")).await?;
    assert_eq!(([first, second].concat(), end), (posted.clone(), None));
    assert_eq!(ids(&web, "status=processing&type=other").await?.0, [""; 0]);
    assert_eq!(ids(&web, "status=queued").await?.0, [waiting.as_str()]);
    let queued = "/api/v1/requests?status=queued&count=true&limit=1";
    let queued: Value = web.get(queued).await?.json().await?;
    assert_eq!(queued["count"], 1, "{queued}");
    let page = web.list("").await?;
    let status = |at: usize| page["items"][at]["status"].clone();
    assert_eq!([status(0), status(1), status(3)], ["queued", "processing", "processing"]);
    Ok(())
}

#[tokio::test]
async fn whoever_prefers_to_wait_waits_for_the_end_of_a_job_under_way() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.processor(1, "1s"))?;
    let id = web.accepted("a".into()).await?;
    let url = format!("{}/api/v1/requests/{id}", web.base);
    let waiting = web.client.get(url).header("Prefer", "wait=60").send();
    let mut stream = Stream::of(&web, &id).await?;
    let following = async {
        stream.status("processing").await?;
        let done = stream.status("completed").await?;
        ensure!(stream.next().await?.is_none(), "something came after the end");
        Ok(done)
    };
    let (waited, followed) = tokio::try_join!(async { Ok(waiting.await?) }, following)?;
    let waited: Value = waited.json().await?;
    assert_eq!((&waited["status"], &waited), (&json!("completed"), &followed));
    Ok(())
}

#[tokio::test]
async fn the_heir_of_a_killed_worker_is_shown_instead_of_it() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, victim) = tokio::try_join!(stack.web(), stack.processor(1, "1h"))?;
    let id = web.accepted("a".into()).await?;
    let mut stream = Stream::of(&web, &id).await?;
    let first = stream.status("processing").await?;
    assert_eq!(first["worker"], worker_of(&victim).await?);
    let heir = stack.processor(1, "1h").await?;
    victim.kill();
    let heir = worker_of(&heir).await?;
    let second = stream.until("status", |request| request["worker"] == heir).await?;
    assert_eq!((&second["status"], &second["deliveries"]), (&json!("processing"), &json!(2)));
    Ok(())
}

#[tokio::test]
async fn a_job_that_no_worker_claims_is_queued_again() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, victim) = tokio::try_join!(stack.web(), stack.processor(1, "1h"))?;
    let id = web.accepted("a".into()).await?;
    let mut stream = Stream::of(&web, &id).await?;
    stream.status("processing").await?;
    victim.kill();
    let queued = stream.status("queued").await?;
    ensure!(queued["worker"].is_null() && queued["startedAt"].is_null(), "{queued}");
    assert_eq!(ids(&web, "status=processing").await?.0, [""; 0]);
    let _heir = stack.processor(1, "1ms").await?;
    stream.status("completed").await.map(drop)
}

#[tokio::test]
async fn a_job_that_its_worker_claims_stays_where_it_is() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, processor) = tokio::try_join!(listening(&stack), stack.processor(1, "1h"))?;
    let claimed = web.accepted("a".into()).await?;
    Stream::of(&web, &claimed).await?.status("processing").await?;
    let orphan = web.accepted("b".into()).await?;
    let mut stream = Stream::of(&web, &orphan).await?;
    let foreign = stack.foreign().await?;
    event(&foreign, "request.started", &json!({"requestId": orphan, "worker": "x"})).await?;
    stream.status("processing").await?;
    // The rounds in which this one is forgotten keep the other one.
    stream.status("queued").await?;
    let request = web.request(&claimed).await?;
    assert_eq!(
        (&request["status"], &request["worker"]),
        (&json!("processing"), &worker_of(&processor).await?)
    );
    Ok(())
}

#[tokio::test]
async fn progress_arrives_in_the_stream_and_in_the_request() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, processor) = tokio::try_join!(stack.web(), stack.processor(1, "1h"))?;
    let foreign = stack.foreign().await?;
    let id = web.accepted("a".into()).await?;
    let mut stream = Stream::of(&web, &id).await?;
    let worker = worker_of(&processor).await?;
    stream.status("processing").await?;
    let at = "2026-11-21T09:54:22.988Z";
    let half =
        json!({"requestId": id, "worker": worker, "progress": 0.5, "message": "half", "at": at});
    event(&foreign, "request.progress", &half).await?;
    let told = stream.until("progress", |_| true).await?;
    assert_eq!(told, json!({"requestId": id, "progress": 0.5, "message": "half", "at": at}));
    let request = web.request(&id).await?;
    assert_eq!((&request["progress"], &request["worker"]), (&json!(0.5), &worker));
    assert_eq!(request["progressMessage"], "half");
    // However many there are, the last one arrives.
    for n in 1..=100 {
        let counted = json!({"requestId": id, "progress": {"done": n, "total": 100}});
        event(&foreign, "request.progress", &counted).await?;
    }
    let told = stream.until("progress", |told| told["progress"] == 1.0).await?;
    let all = json!({"done": 100, "total": 100});
    assert_eq!(told["progressCount"], all);
    let request = web.request(&id).await?;
    assert_eq!((&request["progress"], &request["progressCount"]), (&json!(1.0), &all));
    Ok(())
}

#[tokio::test]
async fn progress_on_a_scale_of_the_workers_own_is_not_shown() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = listening(&stack).await?;
    let foreign = stack.foreign().await?;
    let id = web.accepted("a".into()).await?;
    let mut stream = Stream::of(&web, &id).await?;
    for wrong in [json!(37), json!(-1), json!("half"), json!({"done": 3, "total": 2}), Value::Null]
    {
        let reported = json!({"requestId": id, "progress": wrong, "message": wrong.to_string()});
        event(&foreign, "request.progress", &reported).await?;
        let text = wrong.to_string();
        let told = stream.until("progress", |told| told["message"] == *text).await?;
        ensure!(told["progress"].is_null() && told["progressCount"].is_null(), "{told}");
        ensure!(web.request(&id).await?["progress"].is_null(), "{wrong}");
    }
    Ok(())
}

#[tokio::test]
async fn progress_is_a_percentage_for_whoever_watches() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = listening(&stack).await?;
    let foreign = stack.foreign().await?;
    let id = web.accepted("a".into()).await?;
    let watching = slowlane(&web.base, &["watch", &id]).start()?;
    watching.wait_for_text("queued").await?;
    for (progress, text) in [
        (json!({"done": 9, "total": 20}), "9 of 20 (45%)  page 9"),
        (json!(0.5), "processing  50%  page 9"),
    ] {
        let reported = json!({"requestId": id, "progress": progress, "message": "page 9"});
        event(&foreign, "request.progress", &reported).await?;
        watching.wait_for_text(text).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_attempt_that_failed_is_shown_while_the_next_one_is_waited_for() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = listening(&stack).await?;
    let foreign = stack.foreign().await?;
    let id = web.accepted("a".into()).await?;
    let mut stream = Stream::of(&web, &id).await?;
    event(&foreign, "request.started", &json!({"requestId": id, "attempt": 2})).await?;
    let started = stream.status("processing").await?;
    assert_eq!((&started["attempts"], &started["worker"]), (&json!(2), &Value::Null));
    let next = "2026-11-21T09:54:22.988Z";
    let retrying = json!({
        "requestId": id, "attempt": 2, "nextAttemptAt": next,
        "error": {"code": "busy", "message": "come back later"},
    });
    event(&foreign, "request.retrying", &retrying).await?;
    let noted = |request: &Value| request["lastError"].is_string();
    let waiting = stream.until("status", noted).await?;
    assert_eq!((&waiting["status"], &waiting["attempts"]), (&json!("queued"), &json!(2)));
    assert_eq!(
        (&waiting["lastError"], &waiting["nextAttemptAt"]),
        (&json!("come back later"), &json!(next))
    );
    assert_eq!(web.request(&id).await?, waiting);
    // The next attempt has come; why the last one failed still stands there.
    event(&foreign, "request.started", &json!({"requestId": id, "attempt": 3})).await?;
    let again = stream.status("processing").await?;
    assert_eq!((&again["attempts"], &again["nextAttemptAt"]), (&json!(3), &Value::Null));
    assert_eq!(again["lastError"], "come back later");
    Ok(())
}

#[tokio::test]
async fn news_that_come_late_change_nothing_about_what_has_ended() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = listening(&stack).await?;
    let foreign = stack.foreign().await?;
    let [ended, other] = [web.accepted("a".into()).await?, web.accepted("b".into()).await?];
    let result = json!({"requestId": ended, "processingResults": 1}).to_string();
    foreign.publish("processing", "result", Properties::default(), result.as_bytes()).await?;
    let done = Stream::of(&web, &ended).await?.status("completed").await?;
    let mut stream = Stream::of(&web, &other).await?;
    for id in [&ended, &other] {
        for name in ["request.retrying", "request.progress", "request.started"] {
            let body = json!({"requestId": id, "attempt": 7, "progress": 0.5, "worker": "late"});
            event(&foreign, name, &body).await?;
        }
    }
    // The other one's came last.
    stream.until("status", |request| request["startedAt"].is_string()).await?;
    assert_eq!(web.request(&ended).await?, done);
    assert_eq!(ids(&web, "status=processing").await?.0, [other.as_str()]);
    assert_eq!(ids(&web, "status=completed").await?.0, [ended.as_str()]);
    Ok(())
}

#[tokio::test]
async fn a_worker_whose_clock_is_hours_ahead_is_warned_about() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = listening(&stack).await?;
    let foreign = stack.foreign().await?;
    let ahead = SystemTime::now() + Duration::from_secs(2 * 60 * 60);
    for (worker, at) in [("here:1/1", SystemTime::now()), ("elsewhere:1/1", ahead)] {
        let at = humantime::format_rfc3339_millis(at).to_string();
        let started = json!({"requestId": "a", "run": 0, "worker": worker, "at": at});
        event(&foreign, "request.started", &started).await?;
    }
    let warning = web.program.wait_for_message(log_messages::CLOCK_SKEW).await?;
    assert_eq!(warning["host"], "elsewhere", "{warning}");
    Ok(())
}

#[tokio::test]
async fn a_stream_ends_when_its_request_is_deleted() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let id = web.accepted(1.into()).await?;
        let mut stream = Stream::of(&web, &id).await?;
        stream.status("queued").await?;
        database.change("DELETE FROM requests").await?;
        let next = timeout(END_TIMEOUT, stream.next()).await.context("it goes on")??;
        ensure!(next.is_none(), "{next:?}");
        let again = web.get(&format!("/api/v1/requests/{id}/events")).await?;
        assert_eq!(again.status(), 404);
    }
    Ok(())
}
