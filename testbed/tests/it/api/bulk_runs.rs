//! Actions on many requests: canary replay, a web service that dies in the middle, two web services, abort.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::support::{
    database::Database,
    slowlane::run_slowlane,
    stack::{Stack, Web},
    wait::settles,
};

impl Web {
    async fn post_run(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        let url = format!("{}/api/v1/bulk-runs{path}", self.base);
        let post = self.client.post(url).header("content-type", "application/json");
        let answer = post.body(body.to_string()).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    /// Begins a run and returns its id.
    async fn begin_run(&self, body: &Value) -> Result<String> {
        let (status, run) = self.post_run("", body).await?;
        ensure!(status == 202, "{status}: {run}");
        Ok(run["runId"].as_str().context("an id")?.to_owned())
    }

    async fn run(&self, id: &str) -> Result<Value> {
        Ok(self.get(&format!("/api/v1/bulk-runs/{id}")).await?.json().await?)
    }

    /// Waits until a run is as it should be.
    async fn run_is(&self, id: &str, fields: &Value) -> Result<()> {
        let is = |run: &Value| {
            let fields = fields.as_object().expect("an object");
            fields.iter().all(|(name, value)| run[name] == *value)
        };
        let settled = settles(&fields.to_string(), async || Ok(is(&self.run(id).await?))).await;
        settled.with_context(|| format!("the run {id}"))
    }

    /// Has so many requests fail, as a processor that fails as they say does, and returns their ids.
    async fn failed_alike(&self, count: usize) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for number in 0..count {
            ids.push(self.accepted(json!({"permanent": format!("no file {number}")})).await?);
        }
        for id in &ids {
            ensure!(self.ended(id).await?["status"] == "failed");
        }
        Ok(ids)
    }

    /// How many of these requests are in each run, from 0 on.
    async fn runs_of(&self, ids: &[String]) -> Result<[usize; 3]> {
        let mut runs = [0; 3];
        for id in ids {
            let run = self.request(id).await?["run"].as_u64().context("a run")?;
            runs[usize::try_from(run)?] += 1;
        }
        Ok(runs)
    }
}

#[tokio::test]
async fn a_canary_stops_at_a_group_that_fails_again_and_replays_all_once_it_is_mended() -> Result<()>
{
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let broken = stack.start_faulty(4, "100ms").await?;
        let ids = web.failed_alike(60).await?;
        let groups: Value = web.get("/api/v1/error-groups?failed=true").await?.json().await?;
        let group = groups["items"][0]["group"].as_str().context("a group")?;
        assert_eq!(groups["items"][0]["failed"], 60, "{groups}");

        let canary = ["failed", "replay", "--group", group, "--canary"];
        let said = run_slowlane(&web.base, &canary).await?;
        assert_eq!(said.code, Some(3), "{}", said.text);
        ensure!(
            said.text.contains("stopped by itself, the others stay as they were: "),
            "{}",
            said.text
        );
        let runs = web.runs_of(&ids).await?;
        ensure!(runs[1] <= 5 && runs[1] > 0 && runs[0] >= 55 && runs[2] == 0, "{runs:?}");
        settles("what was replayed has failed again", async || {
            let groups: Value = web.get("/api/v1/error-groups?failed=true").await?.json().await?;
            Ok(groups["items"][0]["failed"] == 60)
        })
        .await?;

        drop(broken);
        let _mended = stack.processor(4, "1ms").await?;
        let said = run_slowlane(&web.base, &[&canary[..], &["--output", "json"]].concat()).await?;
        assert_eq!(said.code, Some(0), "{}", said.text);
        let run = said.json()?;
        assert_eq!((&run["phase"], &run["done"]), (&json!("finished"), &json!(60)), "{run}");
        assert_eq!((&run["completed"], &run["batch"]), (&json!(60), &json!(3)), "{run}");
        for id in &ids {
            assert_eq!(web.request(id).await?["status"], "completed");
        }
        let listed: Value = web.get("/api/v1/bulk-runs").await?.json().await?;
        let phases: Vec<_> = listed["items"].as_array().context("runs")?.iter().collect();
        assert_eq!(
            (&phases[0]["phase"], &phases[1]["phase"]),
            (&json!("finished"), &json!("stopped"))
        );
        let said = run_slowlane(&web.base, &canary).await?;
        assert_eq!(said.code, Some(0), "nothing is left: {}", said.text);
    }
    Ok(())
}

/// A canary whose first batch waits for a worker when its web service is killed.
async fn goes_on_after_a_kill(database: Database) -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = database.web(&stack).await?;
    let broken = stack.start_faulty(4, "100ms").await?;
    let ids = web.failed_alike(8).await?;
    drop(broken);
    let order = json!({"action": "replay", "filter": {"code": "permanent"}, "canary": true});
    let run = web.begin_run(&order).await?;
    web.run_is(&run, &json!({"done": 5, "pending": 5, "phase": "running"})).await?;
    web.program.kill();
    let web = database.web(&stack).await?;
    let before = web.run(&run).await?;
    assert_eq!((&before["done"], &before["pending"]), (&json!(5), &json!(5)), "{before}");
    let _processor = stack.processor(4, "1ms").await?;
    web.run_is(&run, &json!({"phase": "finished", "done": 8, "completed": 8})).await?;
    assert_eq!(web.runs_of(&ids).await?, [0, 8, 0], "each was replayed once");
    Ok(())
}

#[tokio::test]
async fn a_canary_goes_on_after_its_web_service_was_killed() -> Result<()> {
    let [one, other] = Database::both().await?;
    tokio::try_join!(goes_on_after_a_kill(one), goes_on_after_a_kill(other)).map(drop)
}

#[tokio::test]
async fn of_two_web_services_one_does_a_bulk_run_and_both_show_it() -> Result<()> {
    let (stack, database) = (Stack::fresh().await?, Database::postgres().await);
    let (one, other) = tokio::try_join!(database.web(&stack), database.web(&stack))?;
    let broken = stack.start_faulty(4, "100ms").await?;
    let ids = one.failed_alike(40).await?;
    drop(broken);
    let mut runs = Vec::new();
    for part in ids.chunks(10) {
        runs.push(one.begin_run(&json!({"action": "replay", "ids": part})).await?);
    }
    for run in &runs {
        other.run_is(run, &json!({"phase": "finished", "done": 10, "skipped": 0})).await?;
        assert_eq!(one.run(run).await?, other.run(run).await?);
    }
    assert_eq!(one.runs_of(&ids).await?, [0, 40, 0]);
    let begun = |web: &Web| {
        let lines = web.program.lines();
        lines.iter().filter(|line| line.contains("a bulk action begins")).count()
    };
    assert_eq!(begun(&one) + begun(&other), runs.len());
    Ok(())
}

#[tokio::test]
async fn canaries_that_wait_for_workers_hold_up_no_other_run() -> Result<()> {
    let [database, _] = Database::both().await?;
    let stack = Stack::fresh().await?;
    let web = database.web(&stack).await?;
    let broken = stack.start_faulty(4, "100ms").await?;
    let ids = web.failed_alike(10).await?;
    drop(broken);
    let mut canaries = Vec::new();
    for id in &ids {
        let order = json!({"action": "replay", "ids": [id], "canary": true});
        canaries.push(web.begin_run(&order).await?);
    }
    for canary in &canaries {
        web.run_is(canary, &json!({"phase": "running", "pending": 1})).await?;
    }
    let cancel = json!({"action": "cancel", "filter": {"status": "queued"}});
    let cancel = web.begin_run(&cancel).await?;
    web.run_is(&cancel, &json!({"phase": "finished", "done": 10})).await
}

#[tokio::test]
async fn a_bulk_run_is_aborted_and_an_order_for_nothing_is_refused() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let broken = stack.start_faulty(4, "100ms").await?;
        let ids = web.failed_alike(7).await?;
        drop(broken);
        let id = uuid::Uuid::now_v7().to_string();
        let order =
            json!({"action": "replay", "filter": {"type": "default"}, "canary": true, "runId": id});
        for _ in 0..2 {
            assert_eq!(web.begin_run(&order).await?, id, "the same call begins one run");
        }
        let other = json!({"action": "discard", "filter": {"type": "default"}, "runId": id});
        let (status, refused) = web.post_run("", &other).await?;
        assert_eq!((status, &refused["type"]), (422, &json!("run-id-reused")), "{refused}");
        web.run_is(&id, &json!({"pending": 5, "count": 7})).await?;
        let (status, run) = web.post_run(&format!("/{id}/abort"), &Value::Null).await?;
        assert_eq!((status, &run["isAbortAsked"]), (200, &json!(true)), "{run}");
        web.run_is(&id, &json!({"phase": "aborted", "done": 5})).await?;
        assert_eq!(web.runs_of(&ids).await?, [2, 5, 0], "the others stay as they were");

        let cancel = json!({"action": "cancel", "filter": {"status": "queued"}});
        let run = web.begin_run(&cancel).await?;
        web.run_is(&run, &json!({"phase": "finished", "done": 5})).await?;
        let discard = json!({"action": "discard", "filter": {"code": "permanent"}});
        let run = web.begin_run(&discard).await?;
        web.run_is(&run, &json!({"phase": "finished", "done": 2})).await?;
        assert_eq!(web.list("status=failed").await?["items"], json!([]));

        for bad in [
            json!({"action": "replay"}),
            json!({"action": "explode", "ids": [id]}),
            json!({"action": "replay", "filter": {"attempts": 1}}),
            json!({"action": "replay", "filter": {"attempts": 2_147_483_648_u32}}),
        ] {
            assert_eq!(web.post_run("", &bad).await?.0, 422, "{bad}");
        }
        assert_eq!(web.get("/api/v1/bulk-runs/1").await?.status(), 404);
        assert_eq!(web.post_run("/1/abort", &Value::Null).await?.0, 404);
    }
    Ok(())
}
