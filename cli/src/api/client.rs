//! The calls.

use std::{error::Error, time::Duration};

use anyhow::Context;
use reqwest::{RequestBuilder, Response, header};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep, sleep_until};
use url::{Host, Url};
use uuid::Uuid;

use super::{CallError, Page, Request, answer::Answer, events::Events};
use crate::patience::{Notes, patiently};

/// How long an answer may take that nobody asked to be late.
pub(super) const ANSWER: Duration = Duration::from_secs(30);
/// How long it may take to send data and get its answer: the service reads for 30 s at most, then
/// the broker's confirm and the store have some seconds each.
const ACCEPT: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(5);
/// The longest wait in one call. Proxies usually cut idle connections after a minute.
const POLL: Duration = Duration::from_secs(30);
/// The pause after a poll that came back too early.
const EARLY: Duration = Duration::from_millis(500);

/// What the service answers to what it will do.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Accepted {
    request_id: Uuid,
}

/// A client of one web service.
#[derive(Debug)]
pub(crate) struct Client {
    pub(super) http: reqwest::Client,
    base: Url,
    /// The base without user and password.
    place: String,
    retry_for: Duration,
    notes: Notes,
}

impl Client {
    /// A client of the service at `base`, which tries again for `retry_for` what may pass.
    pub(crate) fn new(base: Url, retry_for: Duration, notes: Notes) -> anyhow::Result<Self> {
        let http = http(&base).context("HTTP can't be used")?;
        let place = without_secrets(&base);
        Ok(Self { http, base, place, retry_for, notes })
    }

    /// Sends a request. `body` is what `processData` takes; the key makes it safe to send it twice.
    pub(crate) async fn submit(&self, body: &str, key: &str) -> Result<Uuid, CallError> {
        let accepted: Accepted = self
            .patiently(self.until(), async || {
                let post = self.http.post(self.url(&["processData"]));
                let post = post.header(header::CONTENT_TYPE, "application/json");
                self.json(post.header("Idempotency-Key", key).body(body.to_owned()), ACCEPT).await
            })
            .await
            // Nothing that we have asked for can be missing here but the service itself.
            .map_err(|error| match error {
                CallError::Missing(said) => CallError::Foreign(said),
                other => other,
            })?;
        Ok(accepted.request_id)
    }

    /// Has the callback of a request sent again.
    pub(crate) async fn retry_callback(&self, id: Uuid) -> Result<(), CallError> {
        let url = self.url(&["requests", &id.to_string(), "callback", "retry"]);
        let retry = async || self.json(self.http.post(url.clone()), ANSWER).await;
        self.patiently(self.until(), retry).await.map(|Accepted { .. }| ())
    }

    /// A request as it is now.
    pub(crate) async fn get(&self, id: Uuid) -> Result<Request, CallError> {
        self.patiently(self.until(), async || self.look(id, Duration::ZERO).await).await
    }

    /// A request when it has ended, or as it is when `timeout` is over.
    pub(crate) async fn wait(
        &self,
        id: Uuid,
        timeout: Option<Duration>,
    ) -> Result<Request, CallError> {
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let began = Instant::now();
            let left = end.map_or(POLL, |end| end.saturating_duration_since(began));
            let wait = whole_seconds(left.min(POLL));
            if let (Duration::ZERO, Some(end)) = (wait, end) {
                sleep_until(end).await;
            }
            let until = end.map_or(self.until(), |end| self.until().min(end));
            let request = self.patiently(until, async || self.look(id, wait).await).await?;
            if request.status.is_final() || end.is_some_and(|end| Instant::now() >= end) {
                return Ok(request);
            }
            // A service that is stopping sends away who waits.
            if began.elapsed() < wait / 2 {
                sleep(EARLY.min(left)).await;
            }
        }
    }

    /// Some of all requests.
    pub(crate) async fn list(&self, query: &[(&str, String)]) -> Result<Page<Request>, CallError> {
        let mut url = self.url(&["requests"]);
        url.query_pairs_mut().extend_pairs(query);
        self.patiently(self.until(), async || self.json(self.http.get(url.clone()), ANSWER).await)
            .await
    }

    /// What happens to a request from now on, first as it is now.
    pub(crate) async fn events(&self, id: Uuid) -> Result<Events, CallError> {
        let url = self.url(&["requests", &id.to_string(), "events"]);
        self.patiently(self.until(), async || {
            let get = self.http.get(url.clone()).header(header::ACCEPT, "text/event-stream");
            let answer = tokio::time::timeout(ANSWER, get.send()).await;
            let answer = answer.map_err(|_| self.broken("no answer in time"))?;
            let answer = answer.map_err(|error| self.unreachable(&error))?;
            if answer.status().as_u16() == 200 {
                return Events::of(answer).ok_or_else(|| self.foreign("no stream of events"));
            }
            Err(self.refusal(answer).await)
        })
        .await
    }

    async fn look(&self, id: Uuid, wait: Duration) -> Result<Request, CallError> {
        let mut get = self.http.get(self.url(&["requests", &id.to_string()]));
        if !wait.is_zero() {
            get = get.header("Prefer", format!("wait={}", wait.as_secs()));
        }
        self.json(get, wait + ANSWER).await
    }

    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        call: RequestBuilder,
        limit: Duration,
    ) -> Result<T, CallError> {
        let answer = self.success(call, limit).await?;
        let body = answer.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&body).map_err(|error| self.foreign(&error.to_string()))
    }

    /// A call whose answer says no more than that it is done.
    pub(super) async fn done(
        &self,
        call: RequestBuilder,
        limit: Duration,
    ) -> Result<(), CallError> {
        self.success(call, limit).await.map(drop)
    }

    async fn success(&self, call: RequestBuilder, limit: Duration) -> Result<Response, CallError> {
        let answer = call.timeout(limit).send().await.map_err(|error| self.unreachable(&error))?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refusal(answer).await) }
    }

    fn foreign(&self, why: &str) -> CallError {
        let place = &self.place;
        CallError::Foreign(format!(
            "{place} answers what no web service of Slowlane does ({why}): check SLOWLANE_URL or --url"
        ))
    }

    /// What an answer that is no success means.
    async fn refusal(&self, answer: Response) -> CallError {
        let status = answer.status().as_u16();
        let header = |name| Some(answer.headers().get(name)?.to_str().ok()?.to_owned());
        let (retry_after, location) = (header("retry-after"), header("location"));
        let body = match answer.bytes().await {
            Ok(body) => body,
            Err(error) => return self.unreachable(&error),
        };
        Answer {
            status,
            retry_after: retry_after.as_deref(),
            location: location.as_deref(),
            body: &body,
        }
        .error(&self.place)
    }

    fn unreachable(&self, error: &reqwest::Error) -> CallError {
        if error.is_timeout() && !error.is_connect() {
            return self.broken("no answer in time");
        }
        self.broken(&root(error))
    }

    fn broken(&self, why: &str) -> CallError {
        CallError::Unreachable(format!("{} can't be reached: {why}", self.place))
    }

    pub(super) async fn patiently<T>(
        &self,
        until: Instant,
        call: impl AsyncFnMut() -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        patiently(&self.notes, until, call).await
    }

    pub(super) fn until(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.retry_for).unwrap_or(now + Duration::from_secs(365 * 24 * 3600))
    }

    pub(super) fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        url
    }
}

fn http(base: &Url) -> reqwest::Result<reqwest::Client> {
    // Installed already is as good: every part of the project uses the same provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("slowlane/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        // A redirected POST would become a GET.
        .redirect(reqwest::redirect::Policy::none());
    // Without TLS, a machine that has no certificates of authorities will do.
    let builder = if base.scheme() == "https" { builder } else { builder.tls_certs_only([]) };
    if is_loopback(base) { builder.no_proxy() } else { builder }.build()
}

/// Whether it is this machine, which no proxy can reach.
fn is_loopback(base: &Url) -> bool {
    match base.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn without_secrets(base: &Url) -> String {
    let mut shown = base.clone();
    // Only URLs without a host refuse this.
    let _ = shown.set_username("").and_then(|()| shown.set_password(None));
    shown.as_str().trim_end_matches('/').to_owned()
}

/// The cause of all causes: what lies above it repeats that a request was sent.
fn root(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(base: &str) -> Client {
        Client::new(base.parse().unwrap(), Duration::ZERO, Notes::default()).unwrap()
    }

    #[test]
    fn a_path_before_the_api_is_kept() {
        for base in ["http://a/slow", "http://a/slow/"] {
            let url = client(base).url(&["requests", "x"]);
            assert_eq!(url.as_str(), "http://a/slow/api/v1/requests/x");
        }
    }

    #[test]
    fn no_password_is_shown() {
        assert_eq!(client("https://me:hunter2@a:8443/").place, "https://a:8443");
    }

    #[tokio::test]
    async fn nobody_there_is_said_with_the_reason() {
        // Nothing listens on the port of a socket that is gone.
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = client(&format!("http://{gone}")).get(Uuid::nil()).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("refused") && text.contains(&gone.to_string()), "{text}");
    }
}
