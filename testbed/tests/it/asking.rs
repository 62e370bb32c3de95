//! Asking for requests by their ids.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use testbed::{foreign::Foreign, process::DEADLINE};

use crate::stack::{REQUESTS, RESULTS, Web};

/// How many questions are under way at once.
const AT_ONCE: usize = 32;
/// How many seconds a request has to end; fewer than our client waits for any answer.
const PATIENCE: u32 = 50;

impl Web {
    /// The request as it is now.
    pub(crate) async fn request(&self, id: &str) -> Result<Value> {
        self.request_within(id, 0).await
    }

    /// The request when it has ended.
    pub(crate) async fn ended(&self, id: &str) -> Result<Value> {
        let request = self.request_within(id, PATIENCE).await?;
        let ended =
            ["completed", "failed", "cancelled"].iter().any(|end| request["status"] == *end);
        ensure!(ended, "after {PATIENCE} s {id} has not ended: {request}");
        Ok(request)
    }

    async fn request_within(&self, id: &str, seconds: u32) -> Result<Value> {
        let answer = self.ask(id, seconds).await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status == 200, "{id}: {status} {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// What the service answers about an id, whatever that is.
    pub(crate) async fn ask(&self, id: &str, seconds: u32) -> Result<reqwest::Response> {
        let get = self.client.get(format!("{}/api/v1/requests/{id}", self.base));
        let get = if seconds > 0 { get.header("Prefer", format!("wait={seconds}")) } else { get };
        Ok(get.send().await?)
    }

    /// Asks for each request until it has ended; all have to be completed with their own results.
    pub(crate) async fn has_completed(&self, posted: &[(String, String)]) -> Result<()> {
        let asked = stream::iter(posted).map(|(id, data)| async move {
            let request = self.ended(id).await?;
            ensure!(
                request["status"] == "completed"
                    && request["requestId"] == **id
                    && request["processingResults"] == format!("{data}-processed"),
                "{id} was posted with {data:?} and became {request}"
            );
            anyhow::Ok(())
        });
        asked.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Waits until no request is listed as one that has not ended.
    pub(crate) async fn has_nothing_queued(&self) -> Result<()> {
        loop {
            let page: Value =
                self.get("/api/v1/requests?status=queued&limit=1").await?.json().await?;
            let Some(id) = page["items"][0]["requestId"].as_str() else { return Ok(()) };
            self.ended(id).await?;
        }
    }
}

/// Waits until no request and no result waits with the broker.
pub(crate) async fn drained(foreign: &Foreign) -> Result<()> {
    for queue in [REQUESTS, RESULTS] {
        holds(foreign, queue, |messages| messages == 0).await?;
    }
    Ok(())
}

/// Waits until the number of messages that wait in a queue is such.
pub(crate) async fn holds(foreign: &Foreign, queue: &str, is: impl Fn(u32) -> bool) -> Result<()> {
    settles(queue, async || Ok(is(foreign.depth(queue).await?.messages))).await
}

/// Looks again and again until something is as it should be that nobody tells of.
pub(crate) async fn settles(what: &str, mut is: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let limit = Instant::now() + DEADLINE;
    while !is().await? {
        ensure!(Instant::now() < limit, "after a minute still not as it should be: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
