//! The database is stopped, killed and frozen, the disk is full: callers get a 503 in time, nothing is lost.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use pipeline::log_messages::REQUEUEING;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{
    foreign::{Foreign, persistent},
    postgres::{Install, Server},
    process::json_message,
    program::Running,
};
use uuid::Uuid;

use crate::support::{
    database::Database,
    load::Load,
    requests::LOG_WAITERS,
    stack::{FAILED, RESULTS, Stack, Web},
    wait::{drained, holds, settles},
};

const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);
/// What a busy machine needs to run us at all, and much less than a caller asks to wait here.
const SLACK: Duration = Duration::from_secs(8);
/// How many requests others publish while the store is away.
const FOREIGN_REQUESTS: usize = 100;

/// A web service whose store will be hurt, workers, and load on them.
struct Scene {
    web: Web,
    _processor: Running,
    load: Load,
    foreign: Foreign,
}

impl Scene {
    async fn start(url: &str) -> Result<Self> {
        let stack = Stack::fresh().await?;
        let web = stack.program("web-service").env("DATABASE_URL", url);
        let web = Web::start(web.env("PUBLISH_TIMEOUT", "2s")).await?;
        let processor = stack.processor(4, "1ms").await?;
        let load = Load::start(&web, 8, 100);
        load.accepts(50).await?;
        let foreign = stack.foreign().await?;
        Ok(Self { web, _processor: processor, load, foreign })
    }

    /// Callers are refused in time while the store is away, for this reason, and results wait.
    async fn is_away(&self, reason: &str) -> Result<Vec<(String, String)>> {
        self.web.not_ready("store", reason).await?;
        ensure!(self.web.get("/health/live").await?.status() == 200);
        let asked = Instant::now();
        let post = self.web.post_body("{\"data\":1}").await?;
        let get = self.web.ask(&Uuid::now_v7().to_string(), 60).await?;
        for refused in [post, get] {
            let retry = refused.headers().contains_key("retry-after");
            let (status, text) = (refused.status(), refused.text().await?);
            ensure!(status == 503 && retry && text.contains("\"unavailable\""), "{status} {text}");
        }
        ensure!(asked.elapsed() < 2 * PUBLISH_TIMEOUT + SLACK, "it took {:?}", asked.elapsed());
        let foreign = self.publish().await?;
        holds(&self.foreign, RESULTS, |waiting| waiting as usize >= FOREIGN_REQUESTS).await?;
        Ok(foreign)
    }

    /// Requests that come without the web service; the workers don't need the store.
    async fn publish(&self) -> Result<Vec<(String, String)>> {
        let mut published = Vec::new();
        for n in 0..FOREIGN_REQUESTS {
            let (id, data) = (Uuid::now_v7().to_string(), format!("foreign {n}"));
            let body = json!({"requestId": id, "requestData": data}).to_string();
            let properties = persistent();
            self.foreign.publish("processing", "request", properties, body.as_bytes()).await?;
            published.push((id, data));
        }
        Ok(published)
    }

    /// The service takes requests again by itself, and nothing is missing.
    async fn ends_well(self, waiting: Vec<(String, String)>) -> Result<()> {
        self.web.ready().await?;
        self.load.accepts(50).await?;
        let seen = self.load.stop(PUBLISH_TIMEOUT).await?;
        drained(&self.foreign).await?;
        let data = "x".repeat(100);
        let accepted: Vec<_> = seen.accepted.into_iter().map(|id| (id, data.clone())).collect();
        self.web.has_completed(&accepted).await?;
        self.web.has_completed(&waiting).await?;
        self.web.has_nothing_queued().await?;
        ensure!(self.web.program.exit_status().is_none(), "the service has ended");
        Ok(())
    }
}

/// A server of its own, and the URL of a database on it.
async fn server() -> Result<(Server, String)> {
    let server = Server::start(&Install::find_or_unpack(&|_| ()).await?).await?;
    let url = server.url(&server.create_database().await?);
    Ok((server, url))
}

/// A disk, played by a folder, and the URL of a file on it.
fn disk() -> Result<(TempDir, PathBuf, String)> {
    let folder = tempfile::tempdir()?;
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk)?;
    let url = format!("sqlite:{}", disk.join("slowlane.db").display());
    Ok((folder, disk, url))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_postgresql_is_stopped_killed_and_frozen() -> Result<()> {
    let (mut server, url) = server().await?;
    let scene = Scene::start(&url).await?;
    let mut waiting = Vec::new();
    for harm in ["stopped", "killed", "frozen"] {
        match harm {
            "stopped" => server.stop().await?,
            "killed" => server.kill().await?,
            _ => server.freeze(),
        }
        waiting.extend(scene.is_away("PostgreSQL").await.context(harm)?);
        match harm {
            "frozen" => server.thaw(),
            _ => server.start_again().await?,
        }
        scene.web.ready().await?;
        scene.load.accepts(50).await.context(harm)?;
    }
    scene.ends_well(waiting).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_disk_is_full() -> Result<()> {
    let (_folder, _, url) = disk()?;
    let scene = Scene::start(&url).await?;
    // To who writes, a file that may not grow is a disk that is full.
    limit_files(&scene.web.program, Some(4096))?;
    let waiting = scene.is_away("slowlane.db").await?;
    limit_files(&scene.web.program, None)?;
    scene.ends_well(waiting).await
}

fn limit_files(program: &Running, bytes: Option<u64>) -> Result<()> {
    let pid = Pid::from_raw(program.pid().try_into()?).context("a process")?;
    let limit = Rlimit { current: bytes, maximum: None };
    prlimit(Some(pid), Resource::Fsize, limit).map(drop).context("no limit can be set")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_another_program_locks_the_file() -> Result<()> {
    let (_folder, disk, url) = disk()?;
    let scene = Scene::start(&url).await?;
    let other = rusqlite::Connection::open(disk.join("slowlane.db"))?;
    other.busy_timeout(Duration::from_secs(10))?;
    other.execute_batch("BEGIN EXCLUSIVE")?;
    let waiting = scene.is_away("locked").await?;
    drop(other);
    scene.ends_well(waiting).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_disk_is_not_there_for_a_while() -> Result<()> {
    let (folder, disk, url) = disk()?;
    let scene = Scene::start(&url).await?;
    let elsewhere = folder.path().join("elsewhere");
    std::fs::rename(&disk, &elsewhere)?;
    let waiting = scene.is_away("is gone").await?;
    std::fs::rename(&elsewhere, &disk)?;
    scene.ends_well(waiting).await
}

/// Its caller was told to look later.
#[tokio::test]
async fn a_request_that_the_store_was_too_late_for_is_there_when_the_store_is() -> Result<()> {
    let (_folder, disk, url) = disk()?;
    let stack = Stack::fresh().await?;
    let web = stack.program("web-service").env("DATABASE_URL", url);
    let web = Web::start(web.env("PUBLISH_TIMEOUT", "2s")).await?;
    let other = rusqlite::Connection::open(disk.join("slowlane.db"))?;
    other.busy_timeout(Duration::from_secs(10))?;
    other.execute_batch("BEGIN IMMEDIATE")?;
    let answer = web.post_body("{\"data\":1}").await?;
    ensure!(answer.status() == 503, "{}", answer.status());
    let problem: Value = answer.json().await?;
    ensure!(problem.to_string().contains("outcome-unknown"), "{problem}");
    let id = problem["requestId"].as_str().context("an id")?;
    drop(other);
    settles("the request is there", async || Ok(web.ask(id, 0).await?.status() == 200)).await?;
    assert_eq!(web.request(id).await?["status"], "queued");
    Ok(())
}

/// In SQL, what makes each result take a third of a second or so.
async fn slow_down(database: &Database) -> Result<()> {
    let sql = match database {
        // It has nothing to sleep with.
        Database::File(_) => {
            "CREATE TABLE numbers (n INTEGER PRIMARY KEY); \
             INSERT INTO numbers WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c \
             WHERE n < 1200) SELECT n FROM c; \
             CREATE TRIGGER slow BEFORE INSERT ON requests WHEN NEW.result IS NOT NULL \
             BEGIN SELECT sum(a.n * b.n) FROM numbers AS a, numbers AS b; END"
        }
        Database::Server { .. } => {
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_sleep(0.35); RETURN NEW; END $$; \
             CREATE TRIGGER slow BEFORE INSERT ON requests FOR EACH ROW \
             WHEN (NEW.result IS NOT NULL) EXECUTE FUNCTION slow()"
        }
    };
    database.change(sql).await
}

/// Their statement takes several times as long as a caller waits.
#[tokio::test]
async fn results_that_are_stored_slowly_hold_up_neither_calls_nor_readiness() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = Web::start(database.program(&stack).env("PUBLISH_TIMEOUT", "2s")).await?;
        slow_down(&database).await?;
        let foreign = stack.foreign().await?;
        let ids: Vec<_> = (0..40).map(|_| Uuid::now_v7().to_string()).collect();
        for id in &ids {
            let body = json!({"requestId": id, "processingResults": "x-processed"}).to_string();
            foreign.publish("processing", "result", persistent(), body.as_bytes()).await?;
        }
        let (mut missing, mut beside) = (ids.clone(), 0);
        while let Some(id) = missing.last() {
            match web.ask(id, 0).await?.status().as_u16() {
                200 => drop(missing.pop()),
                404 => {}
                other => anyhow::bail!("GET: {other}"),
            }
            let ready = web.get("/health/ready").await?;
            ensure!(ready.status() == 200, "{}", ready.text().await?);
            let id = web.accepted("a".into()).await?;
            let deleted = web.client.delete(format!("{}/api/v1/requests/{id}", web.base));
            let deleted = deleted.send().await?;
            ensure!(deleted.status().is_success(), "DELETE: {}", deleted.text().await?);
            beside += 1;
        }
        ensure!(beside > 40, "only {beside} rounds of calls beside the results");
        let stored = ids.into_iter().map(|id| (id, "x".to_owned())).collect::<Vec<_>>();
        web.has_completed(&stored).await?;
    }
    Ok(())
}

/// Brokers up to 4.2 count each time that a message goes back, and give it up after twenty.
#[tokio::test]
async fn results_go_back_one_by_one_from_a_store_that_seems_to_be_back_and_is_not() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let foreign = stack.foreign().await?;
        database.change("ALTER TABLE requests RENAME TO others").await?;
        let ids: Vec<_> = (0..FOREIGN_REQUESTS).map(|_| Uuid::now_v7().to_string()).collect();
        for id in &ids {
            let body = json!({"requestId": id, "processingResults": "x-processed"}).to_string();
            let properties = persistent();
            foreign.publish("processing", "result", properties, body.as_bytes()).await?;
        }
        let mut rounds = Vec::new();
        let four = |line: &str| {
            let requeueing = json_message(line, REQUEUEING);
            rounds.extend(requeueing.and_then(|line| line["messages"].as_u64()));
            (rounds.len() == 4).then_some(())
        };
        web.program.wait_for("the fourth try", four).await?;
        assert_eq!(rounds[1..], [1, 1, 1], "all go back again and again");
        database.change("ALTER TABLE others RENAME TO requests").await?;
        let posted: Vec<_> = ids.into_iter().map(|id| (id, "x".to_owned())).collect();
        web.ready().await?;
        holds(&foreign, RESULTS, |waiting| waiting == 0).await?;
        // What does not wait may be in hand, and not stored yet.
        for (id, _) in &posted {
            settles("the result is there", async || Ok(web.ask(id, 0).await?.status() == 200))
                .await?;
        }
        web.has_completed(&posted).await?;
        assert_eq!(foreign.depth(FAILED).await?.messages, 0);
    }
    Ok(())
}

#[tokio::test]
async fn a_web_service_that_starts_before_postgresql_becomes_ready_when_it_is_there() -> Result<()>
{
    let (mut server, url) = server().await?;
    server.stop().await?;
    let stack = Stack::fresh().await?;
    let _processor = stack.processor(1, "1ms").await?;
    let web = stack.program("web-service").env("DATABASE_URL", url);
    let web = Web::start_without_broker(web).await?;
    web.not_ready("store", "PostgreSQL").await?;
    ensure!(web.post_body("{\"data\":1}").await?.status() == 503);
    server.start_again().await?;
    web.ready().await?;
    let id = web.accepted("a".into()).await?;
    assert_eq!(web.ended(&id).await?["processingResults"], "a-processed");
    Ok(())
}

#[tokio::test]
async fn a_caller_who_waits_while_the_store_goes_away_gets_its_id() -> Result<()> {
    let (mut server, url) = server().await?;
    let stack = Stack::fresh().await?;
    let web = stack.program("web-service").env("DATABASE_URL", url);
    let web = Web::start(web.env("RUST_LOG", LOG_WAITERS)).await?;
    let post = web.client.post(format!("{}/api/v1/processData", web.base));
    let post = post.header("Prefer", "wait=60").json(&json!({"data": 1}));
    let waiting = tokio::spawn(post.send());
    web.is_waited_at_by(1).await?;
    server.kill().await?;
    let answer = waiting.await??;
    let status = answer.status();
    let accepted: Value = answer.json().await?;
    ensure!(status == 202, "{status}: {accepted}");
    let id = accepted["requestId"].as_str().context("a requestId")?;
    server.start_again().await?;
    web.ready().await?;
    assert_eq!(web.request(id).await?["status"], "queued");
    Ok(())
}
