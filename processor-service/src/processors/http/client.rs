//! The client of an endpoint: one POST for a job, and its response read within limits.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, SystemTime},
};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use pipeline::{contract::Timestamp, root_cause::root_cause};
use reqwest::{
    Client, RequestBuilder, Response,
    header::{ACCEPT, CONTENT_TYPE},
    redirect,
};
use thiserror::Error;
use tokio::{
    net::{UdpSocket, lookup_host},
    sync::OnceCell,
};

use crate::{
    processor::job::Job,
    processors::{
        http::{
            endpoint::Endpoint,
            response::{Answer, CallFailure, FailureKind, Head},
        },
        output::Output,
    },
};

/// How long connecting may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept: less than servers keep them, or one might be closed just when it is used.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a silent connection is probed, so that one whose peer is gone ends.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// Characters of ids that a header can't hold as they are.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// The header with the request's id.
const REQUEST_ID: &str = "slowlane-request-id";
/// The header with the number of the attempt, from 1.
const ATTEMPT: &str = "slowlane-attempt";
/// Its type.
const TYPE: &str = "slowlane-type";
/// The header with the time at which `JOB_TIMEOUT` ends the attempt.
const DEADLINE: &str = "slowlane-deadline";
/// The header with the key under which the endpoint may remember the answer.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The header with the URL that takes progress.
const PROGRESS_URL: &str = "slowlane-progress-url";
/// The header with the trace.
const TRACEPARENT: &str = "traceparent";

/// Calls one endpoint.
#[derive(Debug, Clone)]
pub(super) struct EndpointClient {
    client: Client,
    endpoint: Endpoint,
    result_limit: usize,
    /// Where the endpoint reaches this machine.
    own_address: OnceCell<IpAddr>,
}

/// The endpoint has an https URL, and this machine has no certificates to verify it with.
#[derive(Debug, Error)]
#[error(
    "this machine has no CA certificates to verify {endpoint} with; install them (ca-certificates) or name their file in \
     SSL_CERT_FILE"
)]
pub struct NoCertificates {
    endpoint: Endpoint,
    source: reqwest::Error,
}

impl EndpointClient {
    /// A client of this endpoint, which reads results of at most so many bytes.
    ///
    /// # Errors
    /// If the certificates of this machine can't be loaded.
    pub(super) fn new(endpoint: Endpoint, result_limit: usize) -> Result<Self, NoCertificates> {
        // It fails if a provider is installed already, which is the same one: the project uses no other.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder()
            .user_agent(concat!("slowlane/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_keepalive(KEEPALIVE_INTERVAL)
            .redirect(redirect::Policy::none());
        // Plain HTTP works on a machine without certificates of authorities too.
        let builder = if endpoint.uses_tls() { builder } else { builder.tls_certs_only([]) };
        let builder = if endpoint.is_loopback() { builder.no_proxy() } else { builder };
        match builder.build() {
            Ok(client) => Ok(Self { client, endpoint, result_limit, own_address: OnceCell::new() }),
            Err(source) => Err(NoCertificates { endpoint, source }),
        }
    }

    /// Has the endpoint work on a job.
    pub(super) async fn call(&self, job: &Job) -> Answer {
        let own_address = match job.progress_urls.needs_own_address() {
            true => self.own_address().await,
            false => None,
        };
        let progress_url = job.progress_urls.open(&job.reporter, own_address);
        let post = self.post(job);
        let post = match &progress_url {
            Some(url) => post.header(PROGRESS_URL, url.as_str()),
            None => post,
        };
        match post.send().await {
            Ok(response) => self.answer(response).await,
            Err(error) => Answer::Failed(without_response(&error)),
        }
    }

    /// The address of this machine on the way to the endpoint. No packet is sent to find it.
    async fn own_address(&self) -> Option<IpAddr> {
        let found = self.own_address.get_or_try_init(async || {
            let url = self.endpoint.url();
            let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
            let port = url.port_or_known_default().unwrap_or_default();
            let mut peers = lookup_host((host, port)).await?;
            let peer = peers.next().ok_or(io::ErrorKind::NotFound)?;
            let any: SocketAddr = match peer {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(any).await?;
            socket.connect(peer).await?;
            io::Result::Ok(socket.local_addr()?.ip())
        });
        found.await.ok().copied()
    }

    fn post(&self, job: &Job) -> RequestBuilder {
        let id = utf8_percent_encode(job.id.text(), ENCODED).to_string();
        let post = self.client.post(self.endpoint.url().clone());
        let post = post
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, */*;q=0.5")
            .header(IDEMPOTENCY_KEY, &id)
            .header(REQUEST_ID, id)
            .header(TYPE, job.request_type.as_str())
            .header(ATTEMPT, job.attempt)
            .header(DEADLINE, Timestamp::from(job.deadline).to_string())
            .body(job.input.get().to_owned());
        match &job.traceparent {
            Some(traceparent) => post.header(TRACEPARENT, traceparent),
            None => post,
        }
    }

    async fn answer(&self, mut response: Response) -> Answer {
        let head = Head::new(response.status(), response.headers().clone());
        let mut body = Output::new(head.body_limit(self.result_limit));
        while !body.is_too_long() {
            match response.chunk().await {
                Ok(Some(chunk)) => body.take(&chunk),
                Ok(None) => break,
                Err(error) if head.is_success() => return Answer::Failed(without_response(&error)),
                // What the status says holds without the rest of the text.
                Err(_) => break,
            }
        }
        head.answer(body, self.result_limit, SystemTime::now())
    }
}

/// The failure of a call without a whole response. Without the URL, which may contain secrets.
fn without_response(error: &reqwest::Error) -> CallFailure {
    let cause = root_cause(error);
    let (kind, reason) = match (error.is_connect(), error.is_timeout()) {
        (true, true) => {
            let seconds = CONNECT_TIMEOUT.as_secs();
            (FailureKind::NoConnection, format!("no connection to the endpoint within {seconds} s"))
        }
        (true, false) => {
            (FailureKind::NoConnection, format!("no connection to the endpoint: {cause}"))
        }
        (false, _) => (FailureKind::Away, format!("the endpoint gave no whole answer: {cause}")),
    };
    CallFailure::without_response(kind, reason)
}
