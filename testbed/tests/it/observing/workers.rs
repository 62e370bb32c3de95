//! Who works on what.

use anyhow::Result;
use pipeline::log_messages::STARTED;
use serde_json::{Value, json};

use crate::support::{stack::Stack, wait::settles};

#[tokio::test]
async fn each_busy_worker_is_shown_with_its_request() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let processor = stack.processor(2, "1h").await?;
    let id = web.accepted("a".into()).await?;
    let started = processor.wait_for_message(STARTED).await?;
    let mut shown = Value::Null;
    settles("the worker is shown", async || {
        shown = web.get("/api/v1/workers").await?.json().await?;
        Ok(shown["busy"] != json!([]) && shown["consumers"] == 2)
    })
    .await?;
    let work = shown["busy"][0]["requests"][0].clone();
    let expected = json!({
        "consumers": 2,
        "busy": [{"worker": started["worker"], "requests": [
            {"requestId": id, "run": 0, "attempt": 1, "startedAt": work["startedAt"]}
        ]}],
        "isCut": false,
    });
    assert_eq!(shown, expected);
    assert!(work["startedAt"].is_string(), "{shown}");
    web.delete(&id).await?;
    settles("nobody works any more", async || {
        let shown: Value = web.get("/api/v1/workers").await?.json().await?;
        Ok(shown["busy"] == json!([]))
    })
    .await
}
