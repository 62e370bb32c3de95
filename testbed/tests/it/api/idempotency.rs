//! Idempotency keys: one request for each key, also if programs are killed meanwhile.

mod repeated;
mod slow_batches;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use testbed::{
    Program,
    foreign::Properties,
    postgres::Access,
    process::{Process, WAIT_TIMEOUT},
    proxy::Proxy,
    shared_node,
};
use tokio::time::sleep;

use crate::support::{
    database::Database,
    stack::{REQUESTS, Stack, Web},
};

/// Short, so that a key whose caller is dead is soon taken over, and long enough for a slow machine.
const PUBLISH_TIMEOUT: &str = "4s";

async fn post(web: &Web, key: &str, body: &str) -> Result<(u16, Value)> {
    let url = format!("{}/api/v1/processData", web.base);
    let post = web.client.post(url).header("content-type", "application/json");
    let answer = post.header("Idempotency-Key", key).body(body.to_owned()).send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

/// Posts as a patient client does: the same call again until it is accepted. Gives the id.
async fn insist(web: &Web, key: &str, body: &str) -> Result<String> {
    let limit = tokio::time::Instant::now() + WAIT_TIMEOUT;
    loop {
        match post(web, key, body).await? {
            (202, accepted) => {
                return Ok(accepted["requestId"].as_str().context("an id")?.to_owned());
            }
            (409 | 503, _) => ensure!(tokio::time::Instant::now() < limit, "409 for ever"),
            other => bail!("{other:?}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn the_same_call_again_is_the_same_request() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let (status, first) = post(&web, "a", "{\"data\":1}").await?;
    assert_eq!(status, 202);
    assert_eq!(post(&web, "a", "{\"data\":1}").await?, (202, first.clone()));
    let (status, problem) = post(&web, "a", "{\"data\":2}").await?;
    assert_eq!((status, &problem["type"]), (422, &json!("idempotency-key-reused")));
    let (status, other) = post(&web, "b", "{\"data\":1}").await?;
    assert_eq!(status, 202);
    assert_ne!(first, other);
    let (status, problem) = post(&web, "a b", "{\"data\":1}").await?;
    assert_eq!((status, &problem["type"]), (400, &json!("wrong-key")));
    assert_eq!(stack.foreign().await?.depth(REQUESTS).await?.messages, 2);

    let _processor = stack.processor(1, "1ms").await?;
    web.result(first["requestId"].as_str().context("an id")?).await?;
    assert_eq!(post(&web, "a", "{\"data\":1}").await?, (202, first), "also after its end");
    Ok(())
}

/// As after a kill between the confirm and the commit: the result has made the row.
#[tokio::test]
async fn a_request_of_which_only_the_result_came_is_recorded_by_the_same_call() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let secret = "whsec_c2xvd2xhbmUgdGVzdHMgd2l0aCB0aGlzIHNlY3JldA==";
        let program = database.program(&stack).env("CALLBACK_ALLOW_PRIVATE", "true");
        let web = Web::start(program.env("WEBHOOK_SECRET", secret)).await?;
        let foreign = stack.foreign().await?;
        let body = r#"{"data":"a","callbackUrl":"http://127.0.0.1:9/"}"#;
        let line = r#"{"data":"b","callbackUrl":"http://127.0.0.1:9/","idempotencyKey":"line"}"#;
        let batch = async || -> Result<Value> {
            let post = web.client.post(format!("{}/api/v1/processData/batch", web.base));
            let post = post.header("content-type", "application/x-ndjson").body(line);
            Ok(serde_json::from_str(&post.send().await?.text().await?)?)
        };
        let ids = [post(&web, "key", body).await?.1, batch().await?];
        let id = |answer: &Value| answer["requestId"].as_str().map(str::to_owned);
        for answer in &ids {
            let result = json!({"requestId": answer["requestId"], "processingResults": 1});
            let result = result.to_string();
            foreign
                .publish("processing", "result", Properties::default(), result.as_bytes())
                .await?;
            web.ended(&id(answer).context("an id")?).await?;
        }
        database
            .change(
                "DELETE FROM callbacks; UPDATE requests SET accepted_at = NULL, \
                 request_data = NULL, callback_url = NULL, callback_host = NULL",
            )
            .await?;
        let again = [post(&web, "key", body).await?.1, batch().await?];
        for (before, now) in ids.iter().zip(&again) {
            assert_eq!(id(before), id(now));
            let request = web.request(&id(now).context("an id")?).await?;
            ensure!(request["acceptedAt"].is_string() && request["status"] == "completed");
            ensure!(request["callback"].is_object(), "{request}");
        }
        assert_eq!(foreign.depth(REQUESTS).await?.messages, 2, "nothing was sent again");
    }
    Ok(())
}

#[tokio::test]
async fn what_was_refused_is_not_remembered() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let proxy = Proxy::start(vhost.address()).await?;
    let stack = Stack::on(&vhost.url).await?;
    let behind = Stack { url: proxy.url(&vhost.url) };
    let web = behind.web().await?;
    proxy.refuse().await?;
    proxy.cut();
    web.not_publishing("").await?;
    let (status, problem) = post(&web, "a", "{\"data\":1}").await?;
    assert_eq!((status, &problem["type"]), (503, &json!("unavailable")));
    proxy.accept().await?;
    web.ready().await?;
    // Another body is fine: nothing was sent for the first.
    assert_eq!(post(&web, "a", "{\"data\":2}").await?.0, 202);
    assert_eq!(stack.foreign().await?.depth(REQUESTS).await?.messages, 1);
    Ok(())
}

/// A web service on PostgreSQL behind a proxy to its broker.
struct Scene {
    stack: Stack,
    proxy: Proxy,
    access: Access,
    database: String,
}

impl Scene {
    async fn open() -> Result<Self> {
        let vhost = shared_node::vhost().await;
        let proxy = Proxy::start(vhost.address()).await?;
        let stack = Stack::on(&vhost.url).await?;
        let (access, database) = testbed::postgres::database().await;
        Ok(Self { stack, proxy, access, database })
    }

    fn program(&self, broker: &str) -> Program {
        let program = self.stack.program("web-service").env("AMQP_URL", broker);
        let program = program.env("DATABASE_URL", self.access.url(&self.database));
        program.env("PUBLISH_TIMEOUT", PUBLISH_TIMEOUT)
    }

    /// A service whose way to the broker goes through the proxy. It has time enough to be killed in.
    async fn behind_the_proxy(&self) -> Result<Web> {
        let url = self.proxy.url(&self.stack.url);
        Web::start(self.program(&url).env("PUBLISH_TIMEOUT", "50s")).await
    }

    /// Waits until the database answers a question with this.
    async fn until(&self, question: &str, answer: &str) -> Result<()> {
        let limit = tokio::time::Instant::now() + WAIT_TIMEOUT;
        while self.access.sql(&self.database, question).await? != [answer] {
            ensure!(tokio::time::Instant::now() < limit, "never {answer}: {question}");
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// The call whose service was killed is made again, elsewhere: it ends with one request, done.
    async fn ends_well(&self, messages: u32) -> Result<()> {
        self.proxy.cut();
        let web = Web::start(self.program(&self.stack.url)).await?;
        let id = insist(&web, "key", "{\"data\":\"x\"}").await?;
        let foreign = self.stack.foreign().await?;
        assert_eq!(foreign.depth(REQUESTS).await?.messages, messages);
        let _processor = self.stack.processor(1, "1ms").await?;
        assert_eq!(web.result(&id).await?["result"], "\"x-processed\"");
        assert_eq!(insist(&web, "key", "{\"data\":\"x\"}").await?, id);
        let all: Value = web.get("/api/v1/requests").await?.json().await?;
        assert_eq!(all["items"].as_array().map(Vec::len), Some(1), "{all}");
        Ok(())
    }
}

fn call(web: &Web) -> tokio::task::JoinHandle<reqwest::Result<reqwest::Response>> {
    let post = web.client.post(format!("{}/api/v1/processData", web.base));
    let post = post.header("content-type", "application/json").header("Idempotency-Key", "key");
    tokio::spawn(post.body("{\"data\":\"x\"}").send())
}

#[tokio::test]
async fn killed_right_after_the_claim_there_is_one_request() -> Result<()> {
    let scene = Scene::open().await?;
    let web = scene.behind_the_proxy().await?;
    scene.proxy.stall();
    let _lost = call(&web);
    scene.until("SELECT count(*) FROM claims", "1").await?;
    web.program.kill();
    scene.ends_well(1).await
}

#[tokio::test]
async fn killed_right_after_the_publish_there_is_one_request() -> Result<()> {
    let scene = Scene::open().await?;
    let web = scene.behind_the_proxy().await?;
    let foreign = scene.stack.foreign().await?;
    scene.proxy.hold_answers();
    let _lost = call(&web);
    while foreign.depth(REQUESTS).await?.messages == 0 {
        sleep(Duration::from_millis(20)).await;
    }
    web.program.kill();
    // It is published again, under the same id: work may be done twice, there is one answer.
    scene.ends_well(2).await
}

#[tokio::test]
async fn killed_right_after_the_confirm_there_is_one_request() -> Result<()> {
    let scene = Scene::open().await?;
    let web = scene.behind_the_proxy().await?;
    let locked = scene.lock_requests().await?;
    let _lost = call(&web);
    // The confirm is there when the row is about to be written.
    let waiting = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() \
        AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO requests%'";
    scene.until(waiting, "t").await?;
    web.program.kill();
    web.program.wait().await?;
    scene.unlock_requests().await?;
    drop(locked);
    // Its half-done statement is given up when the lock is free, and nobody is there to answer.
    scene.until(waiting, "f").await?;
    scene.ends_well_after_any_number().await
}

#[tokio::test]
async fn what_may_have_been_sent_keeps_its_id_whatever_the_next_call_meets() -> Result<()> {
    let scene = Scene::open().await?;
    let url = scene.proxy.url(&scene.stack.url);
    let web = Web::start(scene.program(&url)).await?;
    scene.proxy.hold_answers();
    let (status, unknown) = post(&web, "key", "{\"data\":\"x\"}").await?;
    assert_eq!((status, &unknown["type"]), (503, &json!("outcome-unknown")));
    scene.proxy.refuse().await?;
    scene.proxy.cut();
    web.not_publishing("").await?;
    let (status, problem) = post(&web, "key", "{\"data\":\"x\"}").await?;
    assert_eq!((status, &problem["type"]), (503, &json!("unavailable")));
    scene.proxy.resume();
    scene.proxy.accept().await?;
    web.ready().await?;
    let (status, accepted) = post(&web, "key", "{\"data\":\"x\"}").await?;
    assert_eq!((status, &accepted["requestId"]), (202, &unknown["requestId"]));
    // It would receive results, too, and the other one is asked for them.
    drop(web);
    scene.ends_well(2).await
}

impl Scene {
    /// Keeps everybody from writing requests, until they are unlocked.
    async fn lock_requests(&self) -> Result<Process> {
        let lock =
            "BEGIN; LOCK TABLE requests IN SHARE MODE; SELECT 'locked'; SELECT pg_sleep(600)";
        let psql = self.access.psql(&self.database, lock);
        let psql = psql.spawn()?;
        self.until(
            "SELECT count(*) > 0 FROM pg_locks WHERE mode = 'ShareLock' AND granted \
             AND relation = 'requests'::regclass",
            "t",
        )
        .await?;
        Ok(psql)
    }

    /// Ends the session that holds the lock: its server would not notice that its terminal is gone.
    async fn unlock_requests(&self) -> Result<()> {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE mode = 'ShareLock' \
             AND granted AND relation = 'requests'::regclass";
        self.access.sql(&self.database, end).await.map(drop)
    }

    /// The killed service's row may have been committed by the server, or not.
    async fn ends_well_after_any_number(&self) -> Result<()> {
        let rows = self.access.sql(&self.database, "SELECT count(*) FROM requests").await?;
        self.ends_well(if rows == ["1"] { 1 } else { 2 }).await
    }
}
