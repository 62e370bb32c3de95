//! Replay of a failed request: the same id, the next run, also if programs are killed meanwhile.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pipeline::log_messages;
use serde_json::{Value, json};
use testbed::{
    Proxy,
    foreign::{Foreign, Properties, RejectOptions, persistent},
    process::json_message,
    shared_node,
};
use uuid::Uuid;

use crate::support::{
    database::Database,
    event_stream::Stream,
    foreign_worker::{fail, next_request},
    stack::{REQUESTS, Stack, Web},
    wait::{drained, holds, settles},
};

#[tokio::test]
async fn what_has_failed_completes_when_it_is_replayed_after_a_repair() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let foreign = stack.foreign().await?;
        let posted = || async {
            let post = web.client.post(format!("{}/api/v1/processData", web.base));
            let body = json!({"data": {"b": 1, "a": "x"}, "expiresIn": "1h"});
            let answer = post.header("Idempotency-Key", "order").json(&body).send().await?;
            let body: Value = answer.json().await?;
            Ok::<_, anyhow::Error>(body["requestId"].as_str().context("an id")?.to_owned())
        };
        let id = posted().await?;
        let first = next_request(&foreign).await?;
        fail(&foreign, &id, 0).await?;
        let failed = web.ended(&id).await?;
        let (status, answer) = web.replay(&id).await?;
        assert_eq!((status, answer), (202, json!({"requestId": id})));

        let queued = web.request(&id).await?;
        let expected = json!({
            "requestId": id, "status": "queued", "type": "default", "attempts": 0, "deliveries": 0,
            "run": 1, "acceptedAt": failed["acceptedAt"], "lastError": "no coffee in run 0",
        });
        assert_eq!(queued, expected);
        let (status, problem) = web.replay(&id).await?;
        assert_eq!((status, &problem["type"]), (409, &json!("not-failed")));
        let mut stream = Stream::of(&web, &id).await?;
        assert_eq!(stream.status("queued").await?, queued);

        let again = next_request(&foreign).await?;
        assert_eq!(again.body, first.body);
        for (name, value) in [
            ("slowlane-run", Some("1")),
            ("slowlane-attempt", Some("1")),
            ("slowlane-expires-at", None),
        ] {
            assert_eq!(again.header(name).as_deref(), value, "{name}");
        }
        assert_eq!(again.header("traceparent"), first.header("traceparent"));
        foreign.publish("processing", "request", again.properties.clone(), &again.body).await?;
        let _processor = stack.processor(1, "1ms").await?;
        let done = stream.status("completed").await?;
        assert_eq!((&done["run"], &done["attempts"]), (&json!(1), &json!(1)));
        ensure!(done["error"].is_null() && done["lastError"] == "no coffee in run 0", "{done}");
        assert_eq!(posted().await?, id, "its key stands for it still");
        assert_eq!(web.replay(&id).await?.0, 409);
    }
    Ok(())
}

#[tokio::test]
async fn an_old_failure_that_comes_again_changes_nothing() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let foreign = stack.foreign().await?;
    let id = web.failed(&foreign, "a".into()).await?;
    assert_eq!(web.replay(&id).await?.0, 202);
    let queued = web.request(&id).await?;
    fail(&foreign, &id, 0).await?;
    // What is stored after it comes after it.
    let other = web.accepted("b".into()).await?;
    fail(&foreign, &other, 0).await?;
    web.ended(&other).await?;
    assert_eq!(web.request(&id).await?, queued);
    fail(&foreign, &id, 1).await?;
    let failed = web.ended(&id).await?;
    assert_eq!(failed["error"]["message"], "no coffee in run 1");
    assert_eq!((&failed["run"], &failed["lastError"]), (&json!(1), &json!("no coffee in run 0")));
    assert_eq!(web.replay(&id).await?.0, 202);
    assert_eq!(web.request(&id).await?["run"], 2);
    Ok(())
}

/// As the README tells how to write a worker: it knows nothing of headers.
#[tokio::test]
async fn a_worker_that_says_nothing_of_runs_ends_a_replay_too() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let foreign = stack.foreign().await?;
        let id = web.accepted("a".into()).await?;
        for run in 0..3 {
            ensure!(next_request(&foreign).await?.json()?["requestId"] == *id);
            let error = json!({"code": "teapot", "message": format!("no coffee in run {run}")});
            let result = json!({"requestId": id, "error": error}).to_string();
            let properties = Properties::default();
            foreign.publish("processing", "result", properties, result.as_bytes()).await?;
            let failed = web.ended(&id).await?;
            assert_eq!((&failed["run"], &failed["error"]), (&json!(run), &error));
            assert_eq!(web.replay(&id).await?.0, 202);
        }
    }
    Ok(())
}

#[tokio::test]
async fn of_two_replays_at_once_on_two_services_one_counts() -> Result<()> {
    let stack = Stack::fresh().await?;
    let database = Database::postgres().await;
    let (one, other) = tokio::try_join!(database.web(&stack), database.web(&stack))?;
    let foreign = stack.foreign().await?;
    let mut ids = Vec::new();
    for n in 0..20 {
        let id = one.accepted(n.to_string().into()).await?;
        fail(&foreign, &id, 0).await?;
        ids.push(id);
    }
    foreign.purge(REQUESTS).await?;
    for id in &ids {
        one.ended(id).await?;
    }
    for id in &ids {
        let (here, there) = tokio::try_join!(one.replay(id), other.replay(id))?;
        let statuses = [here.0, there.0];
        ensure!(statuses.contains(&202), "{here:?} {there:?}");
        ensure!(statuses.iter().all(|status| [202, 409].contains(status)), "{statuses:?}");
        assert_eq!(one.request(id).await?["run"], 1);
    }
    let _processor = stack.processor(4, "1ms").await?;
    for (n, id) in ids.iter().enumerate() {
        let done = other.ended(id).await?;
        assert_eq!(
            (&done["run"], &done["processingResults"]),
            (&json!(1), &json!(format!("{n}-processed")))
        );
    }
    drained(&foreign).await
}

/// What a test of a replay without a confirm needs.
struct HeldReplay {
    /// The web service behind the proxy.
    web: Web,
    /// A web service with a way of its own to the broker.
    other: Web,
    foreign: Foreign,
    id: String,
}

/// A web service on PostgreSQL whose way to the broker can be held up, and another that is not.
struct Scene {
    stack: Stack,
    proxy: Proxy,
    database: Database,
}

impl Scene {
    async fn open() -> Result<Self> {
        let vhost = shared_node::vhost().await;
        let proxy = Proxy::start(vhost.address()).await?;
        let stack = Stack::on(&vhost.url).await?;
        Ok(Self { stack, proxy, database: Database::postgres().await })
    }

    /// A failed request, and a web service that will not hear the confirm of its replay.
    async fn hold_confirms(&self) -> Result<HeldReplay> {
        let other = self.database.web(&self.stack).await?;
        let foreign = self.stack.foreign().await?;
        let id = other.failed(&foreign, "x".into()).await?;
        let web = self.behind_the_proxy("50s").await?;
        self.proxy.hold_answers();
        Ok(HeldReplay { web, other, foreign, id })
    }

    async fn behind_the_proxy(&self, publish_timeout: &str) -> Result<Web> {
        let behind = Stack { url: self.proxy.url(&self.stack.url) };
        Web::start(self.database.program(&behind).env("PUBLISH_TIMEOUT", publish_timeout)).await
    }
}

#[tokio::test]
async fn killed_between_publish_and_commit_the_replay_ends_all_the_same() -> Result<()> {
    for repeated in [false, true] {
        let scene = Scene::open().await?;
        let HeldReplay { web, other, foreign, id } = scene.hold_confirms().await?;
        let lost = web.client.post(format!("{}/api/v1/requests/{id}/replay", web.base));
        let _lost = tokio::spawn(lost.send());
        holds(&foreign, REQUESTS, |messages| messages == 1).await?;
        web.program.kill();
        web.program.wait().await?;
        let failed = other.request(&id).await?;
        assert_eq!((&failed["status"], &failed["run"]), (&json!("failed"), &json!(0)));
        if repeated {
            assert_eq!(other.replay(&id).await?.0, 202);
            holds(&foreign, REQUESTS, |messages| messages == 2).await?;
        }
        let _processor = scene.stack.processor(1, "1ms").await?;
        settles("the end of the replay", async || {
            let now = other.request(&id).await?;
            Ok(now["status"] == "completed" && now["run"] == 1)
        })
        .await?;
        drained(&foreign).await?;
        assert_eq!(other.request(&id).await?["processingResults"], "x-processed");
    }
    Ok(())
}

#[tokio::test]
async fn an_end_that_comes_before_the_replay_is_noted_stays() -> Result<()> {
    for succeeds in [true, false] {
        let scene = Scene::open().await?;
        let HeldReplay { web, other, foreign, id } = scene.hold_confirms().await?;
        let replay = async {
            let replayed = web.replay(&id).await?;
            Ok::<_, anyhow::Error>(replayed)
        };
        let end = async {
            let _processor = match succeeds {
                true => Some(scene.stack.processor(1, "1ms").await?),
                false => {
                    next_request(&foreign).await?;
                    fail(&foreign, &id, 1).await?;
                    None
                }
            };
            settles("the end of the next run", async || Ok(other.request(&id).await?["run"] == 1))
                .await?;
            let ended = other.request(&id).await?;
            scene.proxy.resume();
            Ok(ended)
        };
        let ((status, _), ended) = tokio::try_join!(replay, end)?;
        assert_eq!(status, 202);
        assert_eq!(ended["status"], if succeeds { "completed" } else { "failed" });
        assert_eq!(other.request(&id).await?, ended);
    }
    Ok(())
}

/// As the README describes a worker: it sets no headers.
#[tokio::test]
async fn an_end_without_a_run_that_comes_before_its_replay_is_committed_counts() -> Result<()> {
    for (end, status) in [
        (json!({"processingResults": 1}), "completed"),
        (json!({"error": {"code": "teapot"}}), "failed"),
        (json!({"result": 1}), "failed"),
    ] {
        let scene = Scene::open().await?;
        let HeldReplay { web, other, foreign, id } = scene.hold_confirms().await?;
        let end_of_replay = async {
            next_request(&foreign).await?;
            let mut end = end;
            end["requestId"] = json!(id);
            let properties = Properties::default();
            foreign.publish("processing", "result", properties, end.to_string().as_bytes()).await?;
            settles("the end of the replay", async || Ok(other.request(&id).await?["run"] == 1))
                .await?;
            scene.proxy.resume();
            other.request(&id).await
        };
        let ((accepted, _), ended) = tokio::try_join!(web.replay(&id), end_of_replay)?;
        assert_eq!((accepted, &ended["status"]), (202, &json!(status)));
        assert_eq!(other.request(&id).await?, ended);
    }
    Ok(())
}

#[tokio::test]
async fn a_replay_of_which_nobody_knows_whether_it_was_sent_can_be_repeated() -> Result<()> {
    let scene = Scene::open().await?;
    let web = scene.behind_the_proxy("4s").await?;
    let foreign = scene.stack.foreign().await?;
    let id = web.failed(&foreign, "x".into()).await?;
    scene.proxy.hold_answers();
    let (status, problem) = web.replay(&id).await?;
    assert_eq!((status, &problem["type"]), (503, &json!("outcome-unknown")));
    ensure!(problem["requestId"] == *id && problem["detail"].to_string().contains("same call"));
    scene.proxy.resume();
    web.ready().await?;
    settles("the same call again", async || Ok(web.replay(&id).await?.0 == 202)).await?;
    let _processor = scene.stack.processor(1, "1ms").await?;
    assert_eq!(web.ended(&id).await?["processingResults"], "x-processed");
    drained(&foreign).await
}

#[tokio::test]
async fn what_another_program_has_published_is_replayed_if_its_message_is_known() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let foreign = stack.foreign().await?;
        let (rejected, unseen) = (Uuid::now_v7().to_string(), Uuid::now_v7().to_string());
        let body = json!({"requestId": rejected, "requestData": "theirs"}).to_string();
        let properties = persistent();
        foreign.publish("processing", "request", properties, body.as_bytes()).await?;
        let delivery = foreign.consume(REQUESTS, 1).await?.next_unacked().await?;
        delivery.reject(RejectOptions { requeue: false }).await?;
        fail(&foreign, &unseen, 0).await?;
        for id in [&rejected, &unseen] {
            let of_id = |line: &str| {
                json_message(line, log_messages::RESULT).filter(|line| line["requestId"] == **id)
            };
            web.program.wait_for("its end", of_id).await?;
        }
        let (status, problem) = web.replay(&unseen).await?;
        assert_eq!((status, &problem["type"]), (409, &json!("no-data")));
        assert_eq!(web.replay(&rejected).await?.0, 202);
        let _processor = stack.processor(1, "1ms").await?;
        let done = web.ended(&rejected).await?;
        assert_eq!(
            (&done["processingResults"], &done["run"]),
            (&json!("theirs-processed"), &json!(1))
        );
    }
    Ok(())
}

#[tokio::test]
async fn only_what_is_there_and_has_failed_is_replayed() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let stack = Stack::on(&vhost.url).await?;
    let proxy = Proxy::start(vhost.address()).await?;
    let web = Stack { url: proxy.url(&vhost.url) }.web().await?;
    let foreign = stack.foreign().await?;
    let id = web.failed(&foreign, "a".into()).await?;
    let queued = web.accepted("b".into()).await?;
    for (id, status, kind) in [
        (queued.as_str(), 409, "not-failed"),
        (&Uuid::now_v7().to_string(), 404, "not-found"),
        ("nonsense", 404, "not-found"),
    ] {
        let (answered, problem) = web.replay(id).await?;
        assert_eq!((answered, &problem["type"]), (status, &json!(kind)), "{id}");
    }
    proxy.refuse().await?;
    proxy.cut();
    web.not_publishing("").await?;
    let (status, problem) = web.replay(&id).await?;
    assert_eq!((status, &problem["type"]), (503, &json!("unavailable")));
    assert_eq!(web.request(&id).await?["status"], "failed");
    assert_eq!(foreign.depth(REQUESTS).await?.messages, 1, "nothing was sent");
    tokio::time::timeout(Duration::from_secs(30), proxy.accept()).await??;
    web.ready().await?;
    assert_eq!(web.replay(&id).await?.0, 202);
    Ok(())
}
