//! The API's calls about requests by their ids, as methods of [`Web`].

use anyhow::{Result, bail, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use pipeline::log_messages::{CALLER_FOLLOWS, CALLER_WAITS};
use serde_json::Value;
use testbed::process::json_message;

use crate::support::stack::Web;

/// How many calls are in flight at once.
const CONCURRENT_CALLS: usize = 32;
/// The value of `RUST_LOG` with which a web service logs every caller that waits or follows.
pub(crate) const LOG_WAITERS: &str = "info,web_service=debug";
/// More than a web service takes with few at once after its start.
const SHORT_RESULTS: u32 = 400;
/// How often [`Web::ended`] waits, and how many seconds each time: less than the timeout of the HTTP client.
const MAX_WAITS: u32 = 6;
const WAIT_SECONDS: u32 = 50;

impl Web {
    /// The request as it is now.
    pub(crate) async fn request(&self, id: &str) -> Result<Value> {
        self.request_within(id, 0).await
    }

    /// The request when it has ended.
    pub(crate) async fn ended(&self, id: &str) -> Result<Value> {
        let mut request = Value::Null;
        for _ in 0..MAX_WAITS {
            request = self.request_within(id, WAIT_SECONDS).await?;
            if ["completed", "failed", "cancelled"].iter().any(|end| request["status"] == *end) {
                return Ok(request);
            }
        }
        bail!("after {} s {id} has not ended: {request}", MAX_WAITS * WAIT_SECONDS)
    }

    /// Has so many short results stored, by a processor that runs, that the service takes as many at once as it ever does.
    pub(crate) async fn warm_up(&self) -> Result<()> {
        let accepted = stream::iter(0..SHORT_RESULTS).map(|n| self.accepted(n.into()));
        let ids: Vec<String> = accepted.buffer_unordered(CONCURRENT_CALLS).try_collect().await?;
        self.results(ids).await
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

    /// Begins the next attempt at a request at once, whatever the answer.
    pub(crate) async fn retry_now(&self, id: &str) -> Result<(u16, Value)> {
        let url = format!("{}/api/v1/requests/{id}/retry-now", self.base);
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

    /// Waits until `count` callers have begun to wait for requests or to follow them. From then on they miss nothing.
    /// The service must be started with [`LOG_WAITERS`].
    pub(crate) async fn is_waited_at_by(&self, count: usize) -> Result<()> {
        let mut seen = 0;
        let come = |line: &str| {
            let message = |text| json_message(line, text).is_some();
            seen += usize::from(message(CALLER_WAITS) || message(CALLER_FOLLOWS));
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
        asked.buffer_unordered(CONCURRENT_CALLS).try_collect().await
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
