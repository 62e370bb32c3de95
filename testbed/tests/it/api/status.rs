//! The status of the whole system: what waits, is worked on and has failed, also while broker or store are away.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::support::{
    database::Database,
    stack::{REQUESTS, Stack, Web},
    wait::settles,
};

async fn status(web: &Web) -> Result<Value> {
    let answer = web.get("/api/v1/status").await?;
    ensure!(answer.status() == 200, "{}", answer.status());
    Ok(answer.json().await?)
}

/// Waits until the status is as wanted: its numbers are some seconds old.
async fn shows(web: &Web, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut seen = Value::Null;
    let settled = settles(what, async || {
        seen = status(web).await?;
        Ok(wanted(&seen))
    });
    settled.await.map_err(|error| error.context(seen.to_string()))?;
    Ok(seen)
}

#[tokio::test]
async fn the_status_shows_what_waits_is_worked_on_is_retried_and_has_failed() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let foreign = stack.foreign().await?;
        web.failed(&foreign, "a".into()).await?;
        let oldest = web.accepted(json!({"retryAfter": "1h"})).await?;
        for _ in 0..2 {
            web.accepted(json!({"hang": true})).await?;
        }
        let waiting = |status: &Value| status["requests"]["waiting"] == 3;
        let alone = shows(&web, "what waits", waiting).await?;
        let requests =
            json!({"open": 3, "waiting": 3, "processing": 0, "retrying": 0, "failed": 1});
        assert_eq!(alone["requests"], requests);
        assert_eq!(alone["workers"], json!({"subscribed": 0, "busy": 0}), "{alone}");
        assert_eq!(alone["oldest"]["requestId"], *oldest);
        ensure!(alone["oldest"]["acceptedAt"].is_string() && alone["status"] == "ready");
        ensure!(alone["rates"]["acceptedPerSecond"].as_f64() > Some(0.0), "{alone}");
        let queue = json!({"name": REQUESTS, "messages": 3, "consumers": 0});
        assert_eq!(alone["queues"][0], queue);

        let _processor = stack.start_faulty(1, "1h").await?;
        let retried = |status: &Value| {
            status["requests"]["retrying"] == 1
                && status["requests"]["processing"] == 1
                && status["requests"]["waiting"] == 1
        };
        let working = shows(&web, "a retry", retried).await?;
        assert_eq!(working["workers"], json!({"subscribed": 1, "busy": 1}), "{working}");
        assert_eq!(working["requests"]["open"], 3, "{working}");
    }
    Ok(())
}

#[tokio::test]
async fn the_status_says_what_is_away_and_leaves_out_what_is_not_known() -> Result<()> {
    let nobody = Stack { url: "amqp://127.0.0.1:1".to_owned() };
    let database = Database::postgres().await;
    let web = Web::start_without_broker(database.program(&nobody)).await?;
    let counted = |status: &Value| status["requests"]["open"] == 0;
    let alone = shows(&web, "the counts of the store", counted).await?;
    ensure!(alone["status"] == "not_ready" && alone["queues"] == json!([]), "{alone}");
    ensure!(alone["parts"]["broker.publish"]["ok"] == false, "{alone}");
    ensure!(alone["requests"]["waiting"].is_null() && alone["workers"]["subscribed"].is_null());

    let stack = Stack::fresh().await?;
    let nowhere = stack.program("web-service").env("DATABASE_URL", "postgres://127.0.0.1:1/x");
    let web = Web::start_without_broker(nowhere).await?;
    let counted = |status: &Value| status["requests"]["waiting"] == 0;
    let alone = shows(&web, "the numbers of the queues", counted).await?;
    ensure!(alone["requests"]["open"].is_null() && alone["rates"].is_null(), "{alone}");
    ensure!(alone["parts"]["store"]["ok"] == false, "{alone}");
    Ok(())
}
