//! `slowlane verify`: requests whose message is missing are named, and published again from the store.

mod slow;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::Program;

use crate::support::{
    database::Database,
    load::Load,
    slowlane::{CliOutput, UNKNOWN, run_slowlane},
    stack::{REQUESTS, Stack, Web},
    wait::{holds, settles},
};

/// How long a call may take that a test's clients make.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

async fn verify(web: &Web, mend: bool) -> Result<(CliOutput, Vec<String>)> {
    let mut words = vec!["verify", "--output", "json"];
    if mend {
        words.push("--mend");
    }
    let said = run_slowlane(&web.base, &words).await?;
    let missing = said.json()?["missing"].clone();
    let ids = missing.as_array().context("a list")?.iter();
    let ids = ids.map(|it| it["requestId"].as_str().unwrap_or_default().to_owned()).collect();
    Ok((said, ids))
}

#[tokio::test]
async fn a_message_that_is_lost_is_found_by_the_id_of_its_request_and_published_again() -> Result<()>
{
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let lost = web.accepted("lost".into()).await?;
        let mut others = vec![web.accepted("a".into()).await?, web.accepted("b".into()).await?];
        let (said, missing) = verify(&web, false).await?;
        ensure!(said.code == Some(0) && missing.is_empty(), "{}", said.text);

        // The first of the queue is the oldest.
        let taken = stack.foreign().await?.get(REQUESTS).await?.context("a message")?;
        ensure!(taken.text().contains(&lost), "{}", taken.text());
        let (said, missing) = verify(&web, false).await?;
        ensure!(said.code == Some(1) && missing == [lost.clone()], "{}", said.text);
        ensure!(said.json()?["missing"][0]["reason"] == "too-few-messages", "{}", said.text);

        // Also while there is work that never leaves the queue empty for long.
        let _processor = stack.processor(2, "20ms").await?;
        web.results(others.clone()).await?;
        let (said, missing) = verify(&web, true).await?;
        ensure!(said.code == Some(0) && missing == [lost.clone()], "{}", said.text);
        others.push(lost.clone());
        web.results(others).await?;
        let request: Value = web.get(&format!("/api/v1/requests/{lost}")).await?.json().await?;
        ensure!(request["status"] == "completed" && request["run"] == 1, "{request}");
        let (said, missing) = verify(&web, false).await?;
        ensure!(said.code == Some(0) && missing.is_empty(), "{}", said.text);
    }
    Ok(())
}

#[tokio::test]
async fn a_message_that_is_lost_is_found_while_later_requests_are_worked_on() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let lost = web.accepted("lost".into()).await?;
    stack.foreign().await?.get(REQUESTS).await?.context("a message")?;
    // They keep up with the load, but do not leave the queue empty for long.
    let _processor = stack.processor(8, "20ms").await?;
    let load = Load::start(&web, 2, 10);
    load.accepts(20).await?;
    let (said, missing) = verify(&web, true).await?;
    ensure!(said.code == Some(0) && missing == [lost.clone()], "{}", said.text);
    ensure!(said.json()?["missing"][0]["reason"] == "overtaken", "{}", said.text);
    let seen = load.stop(PUBLISH_TIMEOUT).await?;
    web.results(seen.accepted.into_iter().chain([lost])).await
}

#[tokio::test]
async fn all_that_was_in_a_broker_whose_queues_were_purged_comes_back() -> Result<()> {
    const RETRIES: &str = "processing.retry.60000";
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let delays = |program: Program| program.env("RETRY_DELAYS", "1m");
        let web = Web::start(delays(database.program(&stack))).await?;
        // One of them waits for its next attempt.
        let fails = delays(stack.program("processor-service")).env("PROCESSOR", "command");
        let fails = fails.env("PROCESSOR_COMMAND", "sh -c 'exit 75'");
        let processor = stack.start_processor(fails, 1, "0s").await?;
        let retried = web.accepted("retried".into()).await?;
        let foreign = stack.foreign().await?;
        holds(&foreign, RETRIES, |messages| messages == 1).await?;
        let path = format!("/api/v1/requests/{retried}");
        settles("the failed attempt is recorded", async || {
            let request: Value = web.get(&path).await?.json().await?;
            Ok(request["nextAttemptAt"].is_string())
        })
        .await?;
        processor.terminate();
        processor.ended().await?;
        let mut ids = vec![retried.clone()];
        for number in 0..30 {
            ids.push(web.accepted(json!(number)).await?);
        }
        let (said, missing) = verify(&web, false).await?;
        ensure!(said.code == Some(0) && missing.is_empty(), "{}", said.text);

        for queue in [REQUESTS, RETRIES] {
            foreign.purge(queue).await?;
        }
        let (said, mut missing) = verify(&web, true).await?;
        missing.sort_unstable();
        ids.sort_unstable();
        ensure!(said.code == Some(0) && missing == ids, "{}", said.text);
        let works = delays(stack.program("processor-service"));
        let _processor = stack.start_processor(works, 2, "0s").await?;
        web.results(ids.into_iter().filter(|id| *id != retried)).await?;
        // That one still waits for its time.
        holds(&foreign, RETRIES, |messages| messages == 1).await?;
        let request: Value = web.get(&path).await?.json().await?;
        ensure!(request["nextAttemptAt"].is_string() && request["run"] == 1, "{request}");
        let said = run_slowlane(&web.base, &["retry-now", &retried, "--wait"]).await?;
        ensure!(said.code == Some(0), "{}", said.text);
    }
    Ok(())
}

#[tokio::test]
async fn a_healthy_busy_system_has_no_findings() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        // Some take longer than a look at the system, most are not announced, and some are tried again.
        let _slow = stack.processor(1, "4s").await?;
        let _quick = stack.processor(2, "5ms").await?;
        let load = Load::start(&web, 3, 10);
        load.accepts(30).await?;
        for _ in 0..2 {
            let (said, missing) = verify(&web, false).await?;
            ensure!(said.code == Some(0) && missing.is_empty(), "{}", said.text);
        }
        let seen = load.stop(PUBLISH_TIMEOUT).await?;
        web.results(seen.accepted).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_has_ended_or_is_worked_on_is_not_published_again() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let _processor = stack.processor(1, "1h").await?;
    let id = web.accepted("a".into()).await?;
    let republish = async |id: &str| -> Result<Value> {
        let url = format!("{}/api/v1/requests/{id}/republish", web.base);
        Ok(web.client.post(url).send().await?.json().await?)
    };
    let path = format!("/api/v1/requests/{id}");
    settles("it is worked on", async || {
        let request: Value = web.get(&path).await?.json().await?;
        Ok(request["status"] == "processing")
    })
    .await?;
    let answer = republish(&id).await?;
    ensure!(answer["type"] == "not-waiting", "{answer}");
    web.delete(&id).await?;
    let answer = republish(&id).await?;
    ensure!(answer["detail"].to_string().contains("It is cancelled"), "{answer}");
    let unknown = republish(UNKNOWN).await?;
    ensure!(unknown["type"] == "not-found", "{unknown}");
    Ok(())
}

#[tokio::test]
async fn without_the_broker_nothing_is_said_to_be_missing() -> Result<()> {
    let nobody = Stack { url: "amqp://127.0.0.1:1".to_owned() };
    let web = Web::start_without_broker(nobody.program("web-service")).await?;
    let said = run_slowlane(&web.base, &["verify", "--retry-for", "0s"]).await?;
    ensure!(said.code == Some(7), "{}", said.text);
    ensure!(said.text.contains("Nothing can be verified now"), "{}", said.text);
    Ok(())
}
