//! Failed attempts are retried after their delays, until a result or the last attempt.

use std::time::Duration;

use anyhow::{Context, Error, Result, ensure};
use pipeline::log_messages;
use serde_json::{Value, json};
use testbed::{foreign::Properties, process::json_message};

use crate::support::{
    database::Database,
    faulty::{began, paused},
    stack::{FAILED, REQUESTS, Stack, Web},
    wait::settles,
};

const DELAYS: &str = "200ms,500ms";
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(500)];

#[tokio::test]
async fn work_that_fails_twice_and_then_goes_well_is_completed_in_its_third_attempt() -> Result<()>
{
    let stack = Stack::fresh().await?;
    let (web, processor) = tokio::try_join!(stack.web(), stack.start_faulty(1, DELAYS))?;
    let mut retries =
        stack.foreign().await?.listen("processing.events", "request.retrying").await?;
    let id = web.accepted(json!({"fail": 2})).await?;
    let ended = web.ended(&id).await?;
    assert_eq!((&ended["status"], &ended["attempts"]), (&json!("completed"), &json!(3)), "{ended}");
    assert_eq!(
        (&ended["deliveries"], &ended["processingResults"]),
        (&json!(1), &json!({"fail": 2}))
    );
    for attempt in [1, 2] {
        let told = retries.next().await?.json()?;
        assert_eq!((&told["requestId"], &told["attempt"]), (&json!(id), &json!(attempt)), "{told}");
        assert_eq!(told["error"]["message"], "as ordered");
        ensure!(told["nextAttemptAt"].is_string(), "{told}");
    }
    paused(&processor, &id, &PAUSES)
}

#[tokio::test]
async fn a_longer_delay_than_the_work_asks_for_is_logged_beside_it() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, processor) = tokio::try_join!(stack.web(), stack.start_faulty(1, "1s,10s"))?;
    web.accepted(json!({"retryAfter": "2s"})).await?;
    let scheduled = processor.wait_for_message(log_messages::RETRY_SCHEDULED).await?;
    assert_eq!((&scheduled["asked"], &scheduled["delay"]), (&json!("2s"), &json!("10s")));
    Ok(())
}

#[tokio::test]
async fn each_attempt_is_listed_with_worker_times_and_error_also_after_a_restart() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        web.program.wait_for_message(log_messages::RECEIVING_CONTROL).await?;
        let _processor = stack.start_faulty(1, DELAYS).await?;
        let id = web.accepted(json!({"fail": 2})).await?;
        web.ended(&id).await?;
        let path = format!("/api/v1/requests/{id}/attempts");
        let listed = async |web: &Web| Ok::<Value, Error>(web.get(&path).await?.json().await?);
        settles("all attempts are listed", async || {
            Ok(listed(&web).await?["items"].as_array().is_some_and(|items| items.len() == 3))
        })
        .await?;
        let told = listed(&web).await?;
        let items = told["items"].as_array().context("a list")?;
        for (at, item) in items.iter().enumerate() {
            assert_eq!((&item["run"], &item["attempt"]), (&json!(0), &json!(at + 1)), "{told}");
            let [started, ended] = ["startedAt", "endedAt"].map(|name| item[name].as_str());
            ensure!(started.is_some() && started <= ended && item["worker"].is_string(), "{told}");
            let is_last = at == 2;
            let outcome = if is_last { "completed" } else { "failed" };
            assert_eq!(item["outcome"], outcome, "{told}");
            ensure!(is_last == item.get("nextAttemptAt").is_none(), "{told}");
            let error = json!({"code": "transient", "message": "as ordered"});
            ensure!(is_last || item["error"] == error, "{told}");
        }
        ensure!(items.is_sorted_by_key(|item| item["startedAt"].as_str()), "{told}");
        web.program.kill();
        assert_eq!(listed(&database.web(&stack).await?).await?, told);
    }
    Ok(())
}

/// Commits of new requests take a second.
const SLOW_COMMITS: &str = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql \
    AS $$ BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$; \
    CREATE TRIGGER slow BEFORE INSERT ON requests FOR EACH ROW EXECUTE FUNCTION slow()";

#[tokio::test]
async fn an_attempt_that_failed_before_its_request_was_recorded_is_shown() -> Result<()> {
    let stack = Stack::fresh().await?;
    // With SQLite the writes are in order.
    let database = Database::postgres().await;
    let web = database.web(&stack).await?;
    web.program.wait_for_message(log_messages::RECEIVING_CONTROL).await?;
    database.change(SLOW_COMMITS).await?;
    let _processor = stack.start_faulty(1, "1h").await?;
    let id = web.accepted(json!({"fail": 1})).await?;
    settles("the attempt is shown", async || {
        let request = web.request(&id).await?;
        Ok(request["attempts"] == 1 && request["nextAttemptAt"].is_string())
    })
    .await
}

#[tokio::test]
async fn a_delay_of_zero_tries_again_at_once() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, processor) = tokio::try_join!(stack.web(), stack.start_faulty(1, "0,0s,200ms"))?;
    let id = web.accepted(json!({"fail": 3})).await?;
    let ended = web.ended(&id).await?;
    assert_eq!((&ended["status"], &ended["attempts"]), (&json!("completed"), &json!(4)), "{ended}");
    paused(&processor, &id, &[Duration::ZERO, Duration::ZERO, Duration::from_millis(200)])
}

#[tokio::test]
async fn what_would_fail_again_fails_at_once_and_what_always_fails_at_last() -> Result<()> {
    let stack = Stack::fresh().await?;
    let program = stack.faulty(2).env("RETRY_DELAYS", "50ms").env("MAX_ATTEMPTS", "3");
    let (web, processor) = (stack.web().await?, program.start()?);
    let id = web.accepted(json!({"permanent": "no such page"})).await?;
    let ended = web.ended(&id).await?;
    assert_eq!((&ended["status"], &ended["attempts"]), (&json!("failed"), &json!(1)), "{ended}");
    assert_eq!(ended["error"], json!({"code": "permanent", "message": "no such page"}));

    let id = web.accepted(json!({"always": "try"})).await?;
    let ended = web.ended(&id).await?;
    assert_eq!((&ended["status"], &ended["attempts"]), (&json!("failed"), &json!(3)), "{ended}");
    assert_eq!(ended["error"], json!({"code": "attempts_exhausted", "message": "try 3"}));
    assert_eq!(began(&processor, &id)?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn attempts_are_exhausted_only_after_the_last_one() -> Result<()> {
    let stack = Stack::fresh().await?;
    let program = stack.faulty(1).env("RETRY_DELAYS", "50ms").env("MAX_ATTEMPTS", "3");
    let (web, processor) = (stack.web().await?, program.start()?);
    let mut events = stack.foreign().await?.listen("processing.events", "request.retrying").await?;
    let id = web.accepted(json!({"always": "try"})).await?;
    let ended = web.ended(&id).await?;
    assert_eq!(ended["error"]["code"], "attempts_exhausted");
    for attempt in [1, 2] {
        let event = events.next().await?.json()?;
        assert_eq!(
            (&event["attempt"], &event["error"]["code"]),
            (&json!(attempt), &json!("transient"))
        );
    }
    let failures = processor.lines();
    let failures = failures.iter().filter_map(|line| json_message(line, log_messages::FAILED));
    let codes: Vec<_> = failures.map(|line| line["code"].clone()).collect();
    assert_eq!(codes, ["transient", "transient", "attempts_exhausted"]);
    Ok(())
}

#[tokio::test]
async fn a_pause_that_is_asked_for_is_kept_also_beyond_the_longest() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, processor) = tokio::try_join!(stack.web(), stack.start_faulty(1, DELAYS))?;
    for asked in ["300ms", "1200ms"] {
        let id = web.accepted(json!({"retryAfter": asked})).await?;
        let ended = web.ended(&id).await?;
        assert_eq!((&ended["status"], &ended["attempts"]), (&json!("completed"), &json!(2)));
        assert_eq!(ended["deliveries"], 1, "{ended}");
        paused(&processor, &id, &[humantime::parse_duration(asked)?])?;
    }
    Ok(())
}

#[tokio::test]
async fn retries_go_on_when_their_queues_or_exchanges_were_deleted() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.start_faulty(1, "100ms"))?;
    let foreign = stack.foreign().await?;
    let waiting = "processing.retry.100";
    for what in ["neither", "queue", "exchange", "both"] {
        if ["queue", "both"].contains(&what) {
            foreign.delete_queue(waiting).await?;
        }
        if ["exchange", "both"].contains(&what) {
            foreign.delete_exchange(waiting).await?;
        }
        let id = web.accepted(json!({"fail": 1})).await?;
        let ended = web.ended(&id).await?;
        assert_eq!(
            (&ended["status"], &ended["attempts"]),
            (&json!("completed"), &json!(2)),
            "{what}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn foreign_requests_come_back_by_the_way_they_came() -> Result<()> {
    let stack = Stack::fresh().await?;
    let _processor = stack.start_faulty(1, "100ms").await?;
    let foreign = stack.foreign().await?;
    // The second goes past the exchange.
    for (id, exchange, key) in [(1, "processing", "request"), (2, "", REQUESTS)] {
        let body = json!({"requestId": id, "requestData": {"fail": 1}}).to_string();
        foreign.publish(exchange, key, Properties::default(), body.as_bytes()).await?;
        let result = foreign.next("processing.results").await?;
        assert_eq!(result.json()?["processingResults"], json!({"fail": 1}));
        assert_eq!(result.header("slowlane-attempt").as_deref(), Some("2"));
    }
    settles("the queues", async || {
        let (requests, failed) = (foreign.depth(REQUESTS).await?, foreign.depth(FAILED).await?);
        Ok((requests.messages, failed.messages) == (0, 0))
    })
    .await
}
