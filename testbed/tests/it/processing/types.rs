//! Types of requests: each has a queue and workers of its own.

use std::convert::Infallible;

use anyhow::{Context, Result, ensure};
use pipeline::log_messages::{NO_WORKER, STARTED};
use serde_json::{Value, json};
use testbed::{Program, program::Running};

use crate::support::{
    database::Database,
    faulty::began,
    scrape::Scrape,
    slowlane::run_slowlane,
    stack::{REQUESTS, Stack, Web, consuming},
    wait::{holds, settles},
};

const VIDEO: &str = "processing.requests.video";
/// Longer than any test.
const SLOW: &str = "10m";

impl Stack {
    /// A web service and a faulty processor for `video` alone.
    async fn video(&self, database: &Database) -> Result<(Web, Running)> {
        let web = Web::start(database.program(self).env("TYPES", "default,video"));
        tokio::try_join!(web, serving(self.faulty(1), "video", 1))
    }
}

/// A processor for these types, with all its workers consuming.
async fn serving(program: Program, types: &str, consumers: usize) -> Result<Running> {
    let processor = program.env("TYPES", types).start()?;
    consuming(&processor, consumers).await?;
    Ok(processor)
}

async fn submit(web: &Web, data: Value, of_type: &str) -> Result<(u16, Value)> {
    let answer = web.post_body(json!({"data": data, "type": of_type}).to_string()).await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

async fn accepted(web: &Web, data: Value, of_type: &str) -> Result<String> {
    let (status, body) = submit(web, data, of_type).await?;
    ensure!(status == 202, "{status}: {body}");
    Ok(body["requestId"].as_str().context("a requestId")?.to_owned())
}

/// Has one request after the other processed.
async fn keep_busy(web: &Web) -> Result<Infallible> {
    loop {
        web.ended(&web.accepted(json!({})).await?).await?;
    }
}

async fn started(processor: &Running, id: &str) -> Result<()> {
    let begins = async || Ok(!began(processor, id)?.is_empty());
    processor.wait_for_message(STARTED).await?;
    settles("its work begins", begins).await
}

#[tokio::test]
async fn fast_work_does_not_wait_behind_slow_work() -> Result<()> {
    let stack = Stack::of_types("default,video").await?;
    let web = Web::start(stack.program("web-service").env("TYPES", "default,video"));
    let processor = serving(stack.faulty(1), "default,video", 2);
    let (web, processor) = tokio::try_join!(web, processor)?;
    let mut slow = Vec::new();
    for _ in 0..5 {
        slow.push(accepted(&web, json!({"sleep": SLOW}), "video").await?);
    }
    started(&processor, &slow[0]).await?;
    for n in 0..5 {
        let id = web.accepted(json!({ "n": n })).await?;
        let request = web.ended(&id).await?;
        ensure!(request["status"] == "completed" && request["type"] == "default", "{request}");
    }
    for id in &slow {
        ensure!(web.request(id).await?["finishedAt"].is_null(), "it is not slow");
    }
    holds(&stack.foreign().await?, VIDEO, |waiting| waiting == 4).await?;
    let listed = web.list("type=video").await?;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(5), "{listed}");
    // How much work there is, is told of each type.
    let scale = async |query: &str| {
        let path = format!("/api/v1/scale{query}");
        anyhow::Ok(web.get(&path).await?.json::<Value>().await?)
    };
    let expected = json!({"ready": 4, "inHand": 1, "backlog": 5, "workers": 1});
    settles("the scale", async || Ok(scale("?type=video").await? == expected)).await?;
    assert_eq!(scale("?type=default").await?["backlog"], 0);
    assert_eq!(scale("").await?["workers"], 2);
    assert_eq!(web.get("/api/v1/scale?type=audio").await?.status(), 400);
    let metrics = Scrape::of(&web.base).await?;
    assert_eq!(metrics.value("backlog{type=\"video\"}"), Some(5.0), "{}", metrics.text);
    assert_eq!(metrics.value("requests_accepted_total{type=\"video\"}"), Some(5.0));
    Ok(())
}

#[tokio::test]
async fn a_processor_works_on_its_types_alone_and_the_others_are_said_to_wait() -> Result<()> {
    let stack = Stack::of_types("default,video").await?;
    let web = Web::start(stack.program("web-service").env("TYPES", "default,video"));
    let command = stack.program("processor-service").env("PROCESSOR", "command");
    let command = command.env("PROCESSOR_COMMAND", "sh -c 'echo $SLOWLANE_TYPE'");
    let (web, _processor) = tokio::try_join!(web, serving(command, "video", 1))?;
    let waits = web.accepted("a".into()).await?;
    let id = accepted(&web, "b".into(), "video").await?;
    assert_eq!(web.ended(&id).await?["processingResults"], "video");
    let warning = web.program.wait_for_message(NO_WORKER).await?;
    assert_eq!((&warning["queue"], &warning["waiting"]), (&json!(REQUESTS), &json!(1)));
    let ready: Value = web.get("/health/ready").await?.json().await?;
    let told = "type default: 1 request waits, and no worker consumes: start processor-service with \
        TYPES=default; 1 worker consumes, no request waits";
    assert_eq!(ready["parts"]["workers"]["detail"], told);
    let why: Value = web.get(&format!("/api/v1/requests/{waits}/why")).await?.json().await?;
    assert_eq!(why["reasons"][0]["code"], "no-worker", "{why}");
    let doctor = run_slowlane(&web.base, &["doctor"]).await?;
    ensure!(doctor.text.contains("No worker consumes requests, and 1 wait"), "{}", doctor.text);
    assert_eq!(web.request(&waits).await?["status"], "queued");
    Ok(())
}

#[tokio::test]
async fn an_unknown_type_is_refused_with_those_that_there_are() -> Result<()> {
    // The queue of the type is missing, so the web service declares it.
    let stack = Stack::fresh().await?;
    let web = Web::start(stack.program("web-service").env("TYPES", "default,video")).await?;
    let (status, problem) = submit(&web, 1.into(), "audio").await?;
    assert_eq!((status, &problem["type"]), (422, &json!("unknown-type")));
    let detail = problem["detail"].as_str().context("a detail")?;
    ensure!(detail.contains("the types are: default, video"), "{detail}");
    let url = format!("{}/api/v1/processData/batch", web.base);
    let lines = ["{\"data\":1,\"type\":\"audio\"}", "{\"data\":2,\"type\":\"video\"}"].join("\n");
    let post = web.client.post(url).header("content-type", "application/x-ndjson");
    let answer = post.body(lines).send().await?.text().await?;
    let outcomes: Vec<Value> =
        answer.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!((&outcomes[0]["status"], &outcomes[1]["status"]), (&json!(422), &json!(202)));
    assert_eq!(outcomes[0]["error"]["type"], "unknown-type");
    let foreign = stack.foreign().await?;
    holds(&foreign, VIDEO, |waiting| waiting == 1).await?;
    assert_eq!(foreign.depth(REQUESTS).await?.messages, 0, "what was refused was sent");

    let said = run_slowlane(&web.base, &["submit", "3", "--type", "audio"]).await?;
    ensure!(said.code == Some(2) && said.text.contains("default, video"), "{}", said.text);
    let said = run_slowlane(&web.base, &["submit", "3", "--type", "video"]).await?;
    ensure!(said.code == Some(0), "{}", said.text);
    holds(&foreign, VIDEO, |waiting| waiting == 2).await
}

/// Nobody consumes any other queue: whatever was published to another one would never be worked on again.
#[tokio::test]
async fn a_request_comes_back_to_the_queue_of_its_type_whatever_happens_to_it() -> Result<()> {
    let database = Database::sqlite()?;
    let stack = Stack::of_types("default,video").await?;
    let (web, processor) = stack.video(&database).await?;
    // A retry.
    let retried = accepted(&web, json!({"fail": 1}), "video").await?;
    let request = web.ended(&retried).await?;
    assert_eq!((&request["status"], &request["attempts"]), (&json!("completed"), &json!(2)));
    // A replay.
    let failed = accepted(&web, json!({"permanent": "no"}), "video").await?;
    assert_eq!(web.ended(&failed).await?["status"], "failed");
    assert_eq!(web.replay(&failed).await?.0, 202);
    settles("the replay", async || Ok(web.request(&failed).await?["run"] == 1)).await?;
    assert_eq!(web.ended(&failed).await?["status"], "failed");
    // kill -9.
    let killed = accepted(&web, json!({"sleep": "1s"}), "video").await?;
    started(&processor, &killed).await?;
    processor.kill();
    let processor = serving(stack.faulty(1), "video", 1).await?;
    let request = web.ended(&killed).await?;
    assert_eq!((&request["status"], &request["deliveries"]), (&json!("completed"), &json!(2)));
    // A stop in the middle.
    let stopped = accepted(&web, json!({"sleep": SLOW}), "video").await?;
    started(&processor, &stopped).await?;
    processor.terminate();
    processor.terminate();
    processor.wait().await?;
    let foreign = stack.foreign().await?;
    let message = foreign.next(VIDEO).await?;
    assert_eq!(message.json()?["requestId"], stopped);
    assert_eq!(message.header("slowlane-type").as_deref(), Some("video"));
    assert_eq!(foreign.depth(REQUESTS).await?.messages, 0);
    Ok(())
}

#[tokio::test]
async fn a_type_that_is_taken_away_stays_readable_and_a_replay_says_what_is_wrong() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::of_types("default,video").await?;
        let (web, _processor) = stack.video(&database).await?;
        let id = accepted(&web, json!({"permanent": "no"}), "video").await?;
        let failed = web.ended(&id).await?;
        web.program.terminate();
        web.program.wait().await?;
        let web = database.web(&stack).await?;
        assert_eq!(web.request(&id).await?, failed);
        let (status, problem) = web.replay(&id).await?;
        assert_eq!((status, &problem["type"]), (422, &json!("unknown-type")), "{problem}");
        let detail = problem["detail"].as_str().context("a detail")?;
        ensure!(detail.contains("\"video\"") && detail.contains("TYPES"), "{detail}");
        assert_eq!(web.request(&id).await?, failed, "nothing has changed");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_missing_is_found_by_type_and_published_to_its_queue() -> Result<()> {
    let stack = Stack::of_types("default,video").await?;
    let types = stack.program("web-service").env("TYPES", "default,video");
    let fast = serving(stack.faulty(1), "default", 1);
    let (web, _processor) = tokio::try_join!(Web::start(types), fast)?;
    let slow = accepted(&web, json!({}), "video").await?;
    let verify = async |words: &[&str]| {
        let said = run_slowlane(&web.base, words).await?;
        let missing = said.json()?["missing"].clone();
        let ids = missing.as_array().context("a list")?.iter().map(|it| it["requestId"].clone());
        anyhow::Ok(ids.collect::<Vec<_>>())
    };
    let looking = async {
        assert_eq!(verify(&["verify", "--output", "json"]).await?, [""; 0], "it was not overtaken");
        stack.foreign().await?.purge(VIDEO).await?;
        let mended = verify(&["verify", "--mend", "--output", "json"]).await?;
        assert_eq!(mended, [json!(slow)]);
        anyhow::Ok(())
    };
    tokio::select! {
        looked = looking => looked?,
        ended = keep_busy(&web) => match ended? {},
    }
    let message = stack.foreign().await?.next(VIDEO).await?;
    assert_eq!(message.json()?["requestId"], slow);
    Ok(())
}

#[tokio::test]
async fn one_rust_program_does_the_work_of_several_types() -> Result<()> {
    let stack = Stack::of_types("default,sum,video").await?;
    let by_type = || stack.program("examples/by_type");
    let web = Web::start(stack.program("web-service").env("TYPES", "default,sum,video"));
    let (web, _processor) = tokio::try_join!(web, serving(by_type(), "default,sum", 2))?;
    let shout = web.accepted("loud".into()).await?;
    let sum = accepted(&web, json!([1.5, 2]), "sum").await?;
    let wrong = accepted(&web, "loud".into(), "sum").await?;
    assert_eq!(web.ended(&shout).await?["processingResults"], "LOUD");
    assert_eq!(web.ended(&sum).await?["processingResults"], 3.5);
    let failed = web.ended(&wrong).await?;
    assert_eq!(
        (&failed["status"], &failed["error"]["code"]),
        (&json!("failed"), &json!("permanent"))
    );
    // It would take the requests of a type that it can't process.
    let refused = by_type().env("TYPES", "default,video").start()?;
    let (status, text) = refused.ended().await?;
    ensure!(status.code() == Some(2), "{status}: {text}");
    let reason = "TYPES=default,video: this program has no processor for video, it has processors for sum, default";
    ensure!(text.contains(reason), "{text}");
    Ok(())
}
