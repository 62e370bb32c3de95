//! A worker that the test plays itself: it takes requests and answers them through the foreign client.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::foreign::{AMQPValue, Foreign, Message, arguments, persistent};

use crate::support::stack::{REQUESTS, Web};

impl Web {
    /// Posts data and has it fail: a foreign worker takes it and says no.
    pub(crate) async fn failed(&self, foreign: &Foreign, data: Value) -> Result<String> {
        let id = self.accepted(data).await?;
        ensure!(next_request(foreign).await?.json()?["requestId"] == *id, "another request waits");
        fail(foreign, &id, 0).await?;
        ensure!(self.ended(&id).await?["status"] == "failed");
        Ok(id)
    }
}

/// The next request that waits for a worker.
pub(crate) async fn next_request(foreign: &Foreign) -> Result<Message> {
    foreign.next(REQUESTS).await
}

/// Says as a worker that a run of a request has failed.
pub(crate) async fn fail(foreign: &Foreign, id: &str, run: i32) -> Result<()> {
    let headers = arguments([("slowlane-run", AMQPValue::LongInt(run))]);
    let properties = persistent().with_headers(headers);
    let message = format!("no coffee in run {run}");
    let result = json!({"requestId": id, "error": {"code": "teapot", "message": message}});
    foreign.publish("processing", "result", properties, result.to_string().as_bytes()).await
}
