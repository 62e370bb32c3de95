//! Calls about requests: submit, get, wait, list, follow, cancel, and send a callback again.

use std::time::Duration;

use reqwest::{Method, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep, sleep_until};
use url::Url;
use uuid::Uuid;

use super::{
    attempts::Attempts,
    client::{Client, RESPONSE_TIMEOUT},
    error::CallError,
    event_stream::EventStream,
    page::Page,
    request::Request,
    submission::Submission,
};

/// How long the response to a submission may take: the service reads the body for up to 30 s, then
/// the publisher confirm and the store take some seconds each.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest wait in one call. Proxies usually cut idle connections after a minute.
const MAX_POLL: Duration = Duration::from_secs(30);
/// The pause after a long poll that returned early, as it does when the service is stopping.
const EARLY_POLL_PAUSE: Duration = Duration::from_millis(500);
/// How long a response may take after the time that the user gives a request to end.
const LATE_RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The service's response to a request that it has accepted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    request_id: Uuid,
}

impl Client {
    /// Submits a request and returns its id. The idempotency key makes it safe to repeat the call.
    pub(crate) async fn submit(
        &self,
        submission: &Submission<'_>,
        idempotency_key: &str,
    ) -> Result<Uuid, CallError> {
        let (url, body) = (self.url(&["processData"]), submission.json());
        let accepted = self.with_retries(async || {
            let post = self.request(Method::POST, url.clone());
            let post = post.header(header::CONTENT_TYPE, "application/json");
            let post = post.header("Idempotency-Key", idempotency_key).body(body.clone());
            self.send_for_json(post, SUBMIT_TIMEOUT).await
        });
        match accepted.await {
            Ok(Accepted { request_id }) => Ok(request_id),
            // Only the path itself can be missing here: another program answers.
            Err(CallError::NotFound(detail)) => Err(CallError::UnexpectedResponse(detail)),
            Err(error) => Err(error),
        }
    }

    /// A request as it is now.
    pub(crate) async fn get(&self, id: Uuid) -> Result<Request, CallError> {
        self.with_retries(async || self.get_once(id, Duration::ZERO, RESPONSE_TIMEOUT).await).await
    }

    /// The data of a request, as they were sent.
    pub(crate) async fn data(&self, id: Uuid) -> Result<Box<RawValue>, CallError> {
        self.call(Method::GET, self.url(&["requests", &id.to_string(), "data"])).await
    }

    /// The attempts at a request.
    pub(crate) async fn attempts(&self, id: Uuid) -> Result<Attempts, CallError> {
        self.call(Method::GET, self.url(&["requests", &id.to_string(), "attempts"])).await
    }

    /// A request once it has ended, or as it is after `timeout`. Without a timeout it waits for the end.
    pub(crate) async fn wait(
        &self,
        id: Uuid,
        timeout: Option<Duration>,
    ) -> Result<Request, CallError> {
        self.wait_showing(id, timeout, MAX_POLL, |_| ()).await
    }

    /// Like [`Self::wait`], and passes the request as it is meanwhile to `show`, every `max_poll` at least.
    pub(crate) async fn wait_showing(
        &self,
        id: Uuid,
        timeout: Option<Duration>,
        max_poll: Duration,
        mut show: impl FnMut(&Request),
    ) -> Result<Request, CallError> {
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let start = Instant::now();
            let left = end.map_or(max_poll, |end| end.saturating_duration_since(start));
            let wait = whole_seconds(left.min(max_poll));
            if let (Duration::ZERO, Some(end)) = (wait, end) {
                sleep_until(end).await;
            }
            let deadline = self.retry_deadline();
            let deadline = end.map_or(deadline, |end| deadline.min(end));
            let get = async || self.poll(id, max_poll, end).await;
            let polled = self.with_retries_until(deadline, get).await;
            let is_over = end.is_some_and(|end| Instant::now() >= end);
            let request = polled.map_err(|error| match timeout {
                Some(timeout) if is_over => not_known(id, timeout, error),
                _ => error,
            })?;
            if request.status.is_final() || is_over {
                return Ok(request);
            }
            show(&request);
            if start.elapsed() < wait / 2 {
                sleep(EARLY_POLL_PAUSE.min(left)).await;
            }
        }
    }

    /// A page of requests.
    pub(crate) async fn list(&self, query: &[(&str, String)]) -> Result<Page<Request>, CallError> {
        let mut url = self.url(&["requests"]);
        url.query_pairs_mut().extend_pairs(query);
        self.call(Method::GET, url).await
    }

    /// The events of a request from now on; the first one is its present state.
    pub(crate) async fn events(&self, id: Uuid) -> Result<EventStream, CallError> {
        self.with_retries(async || self.events_once(id).await).await
    }

    /// The same, in a single try.
    pub(crate) async fn events_once(&self, id: Uuid) -> Result<EventStream, CallError> {
        let url = self.url(&["requests", &id.to_string(), "events"]);
        let get = self.request(Method::GET, url).header(header::ACCEPT, "text/event-stream");
        let response = self.send_for_stream(get, RESPONSE_TIMEOUT).await?;
        EventStream::of(response).ok_or_else(|| self.unexpected("no stream of events"))
    }

    /// Begins the next attempt at once of a request that was in run `run` a moment ago. If an earlier response was lost,
    /// the repeated call finds the request in a later run, which is a success too.
    pub(crate) async fn retry_now(&self, id: Uuid, run: u64) -> Result<(), CallError> {
        let url = self.url(&["requests", &id.to_string(), "retry-now"]);
        self.call_for_next_run(url, id, run, "not-waiting").await
    }

    /// Makes a call that begins the next run of a request. `refusal` is the problem's type if there is none to begin: after
    /// a lost response that tells of a success.
    pub(super) async fn call_for_next_run(
        &self,
        url: Url,
        id: Uuid,
        run: u64,
        refusal: &str,
    ) -> Result<(), CallError> {
        match self.call(Method::POST, url).await {
            Ok(Accepted { .. }) => Ok(()),
            Err(CallError::Rejected { problem_type, .. })
                if problem_type == refusal && self.get(id).await?.details.run > run =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Cancels a request and returns it as it is then.
    pub(crate) async fn cancel(&self, id: Uuid) -> Result<Request, CallError> {
        self.call(Method::DELETE, self.url(&["requests", &id.to_string()])).await
    }

    /// Makes the service send the callback of a request again.
    pub(crate) async fn retry_callback(&self, id: Uuid) -> Result<(), CallError> {
        let url = self.url(&["requests", &id.to_string(), "callback", "retry"]);
        self.call(Method::POST, url).await.map(|Accepted { .. }| ())
    }

    /// A request once it has ended, or as it is after `max_poll` or at `end`.
    async fn poll(
        &self,
        id: Uuid,
        max_poll: Duration,
        end: Option<Instant>,
    ) -> Result<Request, CallError> {
        let Some(end) = end else {
            let wait = whole_seconds(max_poll);
            return self.get_once(id, wait, wait + RESPONSE_TIMEOUT).await;
        };
        let left = end.saturating_duration_since(Instant::now());
        let wait = whole_seconds(left.min(max_poll));
        let timeout = (wait + RESPONSE_TIMEOUT).min(left.saturating_add(LATE_RESPONSE_TIMEOUT));
        self.get_once(id, wait, timeout).await
    }

    async fn get_once(
        &self,
        id: Uuid,
        wait: Duration,
        timeout: Duration,
    ) -> Result<Request, CallError> {
        let mut get = self.request(Method::GET, self.url(&["requests", &id.to_string()]));
        if !wait.is_zero() {
            get = get.header("Prefer", format!("wait={}", wait.as_secs()));
        }
        self.send_for_json(get, timeout).await
    }
}

/// The error of a call that could have succeeded later, at the end of the user's time.
fn not_known(id: Uuid, timeout: Duration, error: CallError) -> CallError {
    let timeout = humantime::format_duration(timeout);
    match error.retry_after() {
        Some(_) => CallError::TimedOut(format!(
            "whether {id} has ended is not known after {timeout}: {error}"
        )),
        None => error,
    }
}

/// `Prefer: wait` takes whole seconds.
fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::retry::RetryNotices;

    #[tokio::test]
    async fn an_unreachable_service_is_reported_with_the_reason() {
        // Nothing listens on the port of a closed socket.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let base = format!("http://{closed}").parse().unwrap();
        let client = Client::new(base, Duration::ZERO, RetryNotices::default()).unwrap();
        let text = client.get(Uuid::nil()).await.unwrap_err().to_string();
        assert!(text.contains("refused") && text.contains(&closed.to_string()), "{text}");
    }
}
