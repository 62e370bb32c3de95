//! The HTTP client of one web service: sends calls, retries them, turns responses into values or errors.

use std::time::Duration;

use anyhow::Context;
use pipeline::root_cause::root_cause;
use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::Url;

use super::{
    error::CallError,
    error_response::ErrorResponse,
    http,
    retry::{RetryNotices, with_retries},
};

/// How long a response may take if the call asked for no wait.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The deadline of a retry time that is too long to be added to the present time.
const MAX_RETRY_TIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// A client of one web service. It is not `Debug`: its base may hold a password.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    /// The base without user and password, for messages.
    shown_base: String,
    retry_for: Duration,
    notices: RetryNotices,
}

impl Client {
    /// A client of the service at `base`, which repeats a call for `retry_for` while that can help.
    ///
    /// # Errors
    /// If HTTPS is asked for and the TLS certificates of the system can't be loaded.
    pub(crate) fn new(
        base: Url,
        retry_for: Duration,
        notices: RetryNotices,
    ) -> anyhow::Result<Self> {
        let http = http::client(&base).context("the HTTP client can't be set up")?;
        let shown_base = http::without_credentials(&base);
        Ok(Self { http, base, shown_base, retry_for, notices })
    }

    /// The address of the service, without user and password.
    pub(crate) fn address(&self) -> &str {
        &self.shown_base
    }

    /// The URL of a path below `/api/v1`.
    pub(super) fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        url
    }

    /// A call that has not been sent yet.
    pub(super) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.http.request(method, url)
    }

    /// Makes a call without a body and returns its JSON response.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
    ) -> Result<T, CallError> {
        self.with_retries(async || {
            self.send_for_json(self.request(method.clone(), url.clone()), RESPONSE_TIMEOUT).await
        })
        .await
    }

    /// Makes a call whose successful response says nothing but that.
    pub(super) async fn call_for_status(&self, method: Method, url: Url) -> Result<(), CallError> {
        self.with_retries(async || {
            self.send(self.request(method.clone(), url.clone()), RESPONSE_TIMEOUT).await.map(drop)
        })
        .await
    }

    /// Repeats a call for the client's retry time.
    pub(super) async fn with_retries<T>(
        &self,
        call: impl AsyncFnMut() -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        self.with_retries_until(self.retry_deadline(), call).await
    }

    /// Repeats a call until a deadline.
    pub(super) async fn with_retries_until<T>(
        &self,
        deadline: Instant,
        call: impl AsyncFnMut() -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        with_retries(&self.notices, deadline, call).await
    }

    /// When the retry time of a call that begins now ends.
    pub(super) fn retry_deadline(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.retry_for).unwrap_or(now + MAX_RETRY_TIME)
    }

    /// Sends a call once and returns its JSON response.
    pub(super) async fn send_for_json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        timeout: Duration,
    ) -> Result<T, CallError> {
        let response = self.send(request, timeout).await?;
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&body).map_err(|error| self.unexpected(&error.to_string()))
    }

    /// Sends a call once and returns its response with the body still to be read, however long that
    /// takes; only the response's head must come within `timeout`.
    pub(super) async fn send_for_stream(
        &self,
        request: RequestBuilder,
        timeout: Duration,
    ) -> Result<Response, CallError> {
        let response = tokio::time::timeout(timeout, request.send()).await;
        let response = response.map_err(|_| self.no_connection("no response in time"))?;
        let response = response.map_err(|error| self.unreachable(&error))?;
        self.successful(response).await
    }

    async fn send(
        &self,
        request: RequestBuilder,
        timeout: Duration,
    ) -> Result<Response, CallError> {
        let response = request.timeout(timeout).send().await;
        self.successful(response.map_err(|error| self.unreachable(&error))?).await
    }

    async fn successful(&self, response: Response) -> Result<Response, CallError> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let header = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let (retry_after, location) = (header("retry-after"), header("location"));
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        let (retry_after, location) = (retry_after.as_deref(), location.as_deref());
        let response = ErrorResponse { status, retry_after, location, body: &body };
        Err(response.error(&self.shown_base))
    }

    /// The error for a response that no web service of Slowlane sends.
    pub(super) fn unexpected(&self, why: &str) -> CallError {
        CallError::UnexpectedResponse(format!(
            "{} is not a web service of Slowlane, or of another version: its response can't be read ({why}): check SLOWLANE_URL or --url",
            self.shown_base
        ))
    }

    fn unreachable(&self, error: &reqwest::Error) -> CallError {
        if error.is_timeout() && !error.is_connect() {
            return self.no_connection("no response in time");
        }
        self.no_connection(&root_cause(error).to_string())
    }

    fn no_connection(&self, why: &str) -> CallError {
        CallError::Unreachable(format!("{} can't be reached: {why}", self.shown_base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_before_the_api_is_kept() {
        for base in ["http://a/slow", "http://a/slow/"] {
            let base = base.parse().unwrap();
            let client = Client::new(base, Duration::ZERO, RetryNotices::default()).unwrap();
            let url = client.url(&["requests", "x"]);
            assert_eq!(url.as_str(), "http://a/slow/api/v1/requests/x");
        }
    }
}
