//! Asking for requests by their ids.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use testbed::{
    foreign::Foreign,
    process::{WAIT_TIMEOUT, json_message},
};

use crate::support::stack::{REQUESTS, RESULTS, Web};

/// How many questions are under way at once.
const AT_ONCE: usize = 32;
/// The value of `RUST_LOG` with which a web service tells of everybody who waits at it.
pub(crate) const TELL_WHO_WAITS: &str = "info,web_service=debug";
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

    /// Cancels a request, whatever the answer.
    pub(crate) async fn delete(&self, id: &str) -> Result<(u16, Value)> {
        let url = format!("{}/api/v1/requests/{id}", self.base);
        let answer = self.client.delete(url).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    /// Replays a request, whatever the answer.
    pub(crate) async fn replay(&self, id: &str) -> Result<(u16, Value)> {
        let url = format!("{}/api/v1/requests/{id}/replay", self.base);
        let answer = self.client.post(url).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    /// A page of the list of requests.
    pub(crate) async fn list(&self, query: &str) -> Result<Value> {
        let answer = self.get(&format!("/api/v1/requests?{query}")).await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status == 200, "{query}: {status} {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// Waits until so many have begun to wait for requests or to follow them, of which a service
    /// tells that was started with [`TELL_WHO_WAITS`]. From then on they miss nothing.
    pub(crate) async fn is_waited_at_by(&self, count: usize) -> Result<()> {
        let mut seen = 0;
        let come = |line: &str| {
            let message = |text| json_message(line, text).is_some();
            seen += usize::from(message("a caller waits") || message("a caller follows"));
            (seen == count).then_some(())
        };
        self.program.wait_for(&format!("{count} who wait"), come).await
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
            let page = self.list("status=queued&limit=1").await?;
            let Some(id) = page["items"][0]["requestId"].as_str() else { return Ok(()) };
            self.ended(id).await?;
        }
    }
}

/// Waits until no request and no result waits with the broker.
pub(crate) async fn drained(foreign: &Foreign) -> Result<()> {
    for queue in [REQUESTS, RESULTS] {
        loop {
            let messages = foreign.depth(queue).await?.messages;
            if messages == 0 {
                break;
            }
            // However long it takes in all, as long as it becomes less.
            holds(foreign, queue, |now| now < messages).await?;
        }
    }
    Ok(())
}

/// Waits until the number of messages that wait in a queue is such.
pub(crate) async fn holds(foreign: &Foreign, queue: &str, is: impl Fn(u32) -> bool) -> Result<()> {
    settles(queue, async || Ok(is(foreign.depth(queue).await?.messages))).await
}

/// Looks again and again until something is as it should be that nobody tells of.
pub(crate) async fn settles(what: &str, mut is: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let limit = Instant::now() + WAIT_TIMEOUT;
    while !is().await? {
        ensure!(Instant::now() < limit, "after a minute still not as it should be: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
