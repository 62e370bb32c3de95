//! Requests wait, and no worker is there.

use anyhow::Result;
use pipeline::log_messages::{NO_WORKER, WORKERS_BACK};
use serde_json::{Value, json};
use testbed::process::json_message;

use crate::support::{
    stack::{Stack, Web},
    wait::settles,
};

/// The workers as health tells of them, where everything else is fine.
async fn workers(web: &Web) -> Result<Value> {
    let ready = web.get("/health/ready").await?;
    assert_eq!(ready.status(), 200);
    Ok(ready.json::<Value>().await?["parts"]["workers"].take())
}

#[tokio::test]
async fn requests_that_wait_for_nobody_are_told_of_in_health_and_once_in_the_log() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    for n in 0..3 {
        web.accepted(n.into()).await?;
    }
    let warning = web.program.wait_for_message(NO_WORKER).await?;
    assert_eq!((&warning["level"], &warning["waiting"]), (&json!("WARN"), &json!(3)));
    let detail = "3 requests wait, and no worker consumes: start processor-service";
    let expected = json!({"ok": true, "detail": detail, "waiting": 3, "consumers": 0});
    assert_eq!(workers(&web).await?, expected);

    let _processor = stack.processor(2, "1ms").await?;
    web.program.wait_for_message(WORKERS_BACK).await?;
    let told = web.program.lines();
    let told = told.iter().filter(|line| json_message(line, NO_WORKER).is_some()).count();
    assert_eq!(told, 1);
    settles("the workers are counted", async || {
        let workers = workers(&web).await?;
        Ok(workers["detail"] == "2 workers consume, no request waits" && workers["consumers"] == 2)
    })
    .await
}
