//! Webhook sender: one signed POST, and what the response means.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use pipeline::root_cause::root_cause;
use reqwest::{Client, Response, StatusCode, header, redirect};
use url::Url;

use crate::webhooks::{
    dns::{CheckedResolver, Lookup},
    signature::WebhookSecrets,
    target::{AllowedTargets, TargetError},
};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the whole attempt may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// How much of a response body is read. A connection whose response was read to its end can be used again.
const MAX_RESPONSE_BYTES: usize = 64 << 10;
/// The longest error text, in characters.
const MAX_REASON_CHARS: usize = 200;

/// Sends webhooks.
pub(crate) struct WebhookSender {
    client: Client,
    secrets: WebhookSecrets,
    allowed: AllowedTargets,
}

/// A webhook to send.
pub(crate) struct WebhookRequest {
    pub(crate) url: String,
    /// The header `webhook-id`: the same at each attempt, so that the receiver can recognize a duplicate.
    pub(crate) id: String,
    pub(crate) body: String,
}

/// The outcome of an attempt.
#[derive(Debug, PartialEq)]
pub(crate) enum WebhookOutcome {
    /// The receiver answered with a 2xx status.
    Delivered(StatusCode),
    /// The receiver answered 410: it wants no further attempts.
    Gone,
    /// There was no answer, or another status.
    Failed { status: Option<StatusCode>, reason: String, retry_after: Option<Duration> },
}

impl WebhookSender {
    /// A sender that connects only to `allowed` targets.
    ///
    /// # Errors
    /// If this machine has no CA certificates to verify receivers with.
    pub(crate) fn new(
        secrets: WebhookSecrets,
        allowed: AllowedTargets,
        lookup: impl Lookup,
    ) -> anyhow::Result<Self> {
        // An error means that it is installed already: all parts of the program use the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            // A proxy would resolve names itself, unchecked.
            .no_proxy()
            .dns_resolver(CheckedResolver { lookup, allowed })
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .user_agent(concat!("slowlane/", env!("CARGO_PKG_VERSION")));
        let client = client.build().context(
            "callbacks can't be sent: this machine has no CA certificates to verify receivers with; \
             install them (ca-certificates) or name their file in SSL_CERT_FILE",
        )?;
        Ok(Self { client, secrets, allowed })
    }

    /// Makes one attempt.
    pub(crate) async fn send(&self, webhook: WebhookRequest) -> WebhookOutcome {
        // Which targets are allowed may have changed since the request was accepted.
        let url = match checked(self.allowed, &webhook.url) {
            Ok(url) => url,
            Err(error) => return WebhookOutcome::failed(error.to_string()),
        };
        let timestamp = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let signature = self.secrets.sign(&webhook.id, timestamp, webhook.body.as_bytes());
        let post = self.client.post(url).header(header::CONTENT_TYPE, "application/json");
        let post = post.header("webhook-id", webhook.id).header("webhook-timestamp", timestamp);
        match post.header("webhook-signature", signature).body(webhook.body).send().await {
            Ok(response) => {
                let outcome = classify_response(response.status(), response.headers());
                read_body(response).await;
                outcome
            }
            Err(error) => WebhookOutcome::failed(reason(&error)),
        }
    }
}

fn checked(allowed: AllowedTargets, url: &str) -> Result<Url, TargetError> {
    let url = Url::parse(url)?;
    allowed.check(&url).map(|_| url)
}

impl WebhookOutcome {
    /// A failure without a response.
    pub(crate) fn failed(reason: String) -> Self {
        Self::Failed { status: None, reason, retry_after: None }
    }
}

/// What a response means: 2xx is delivered, 410 is gone, all else failed. `Retry-After` counts with 429 and
/// 503.
fn classify_response(status: StatusCode, headers: &header::HeaderMap) -> WebhookOutcome {
    if status.is_success() {
        return WebhookOutcome::Delivered(status);
    }
    if status == StatusCode::GONE {
        return WebhookOutcome::Gone;
    }
    let mut reason = format!("the receiver answered {}", status.as_u16());
    if status.is_redirection() {
        reason.push_str("; redirects are not followed");
    }
    let can_wait = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    let retry_after = headers.get(header::RETRY_AFTER).filter(|_| can_wait.contains(&status));
    let retry_after = retry_after.and_then(|value| seconds_or_date(value.to_str().ok()?));
    WebhookOutcome::Failed { status: Some(status), reason, retry_after }
}

fn seconds_or_date(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok()
}

/// Reads a response to its end, unless it is too long or takes too long.
async fn read_body(mut response: Response) {
    let mut left = MAX_RESPONSE_BYTES;
    while let Ok(Some(chunk)) = response.chunk().await {
        match left.checked_sub(chunk.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// Why there was no response. Without the URL, which may contain secrets.
fn reason(error: &reqwest::Error) -> String {
    let cause = root_cause(error);
    let text = match (error.is_connect(), error.is_timeout()) {
        (true, true) => format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()),
        (false, true) => format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()),
        (true, false) => format!("no connection: {cause}"),
        (false, false) => format!("no answer: {cause}"),
    };
    text.chars().take(MAX_REASON_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        net::SocketAddr,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use reqwest::header::HeaderMap;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    /// Returns the next list of addresses at each lookup, and the last one from then on.
    #[derive(Clone)]
    struct FakeLookup(Arc<(Vec<Vec<SocketAddr>>, AtomicUsize)>);

    impl Lookup for FakeLookup {
        async fn addresses(&self, _: &str) -> io::Result<Vec<SocketAddr>> {
            let (answers, at) = &*self.0;
            Ok(answers[at.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1)].clone())
        }
    }

    fn lookup(answers: &[&[&str]]) -> FakeLookup {
        let address = |text: &&str| SocketAddr::new(text.parse().unwrap(), 0);
        let answers = answers.iter().map(|answer| answer.iter().map(address).collect()).collect();
        FakeLookup(Arc::new((answers, AtomicUsize::new(0))))
    }

    fn sender(allowed: AllowedTargets, lookup: FakeLookup) -> WebhookSender {
        WebhookSender::new(WebhookSecrets::parse(SECRET).unwrap(), allowed, lookup).unwrap()
    }

    async fn send(sender: &WebhookSender, url: String) -> WebhookOutcome {
        sender.send(WebhookRequest { url, id: "1-0".to_owned(), body: "{}".to_owned() }).await
    }

    /// Answers each connection, and counts them.
    async fn receiver() -> (u16, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, calls) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let count = calls.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let _ = stream.read(&mut [0; 4096]).await;
                let answer = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (port, calls)
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_a_private_address_is_refused() {
        let (port, calls) = receiver().await;
        let private: &[&[&str]] =
            &[&["127.0.0.1"], &["::1"], &["1.1.1.1", "127.0.0.1"], &["::ffff:127.0.0.1"]];
        for answer in private {
            let sender = sender(AllowedTargets::PublicHttps, lookup(&[answer]));
            let outcome = send(&sender, format!("https://rebound.example:{port}/")).await;
            let WebhookOutcome::Failed { reason, .. } = outcome else { panic!("{outcome:?}") };
            assert!(reason.contains("not public") && !reason.contains("127"), "{reason}");
        }
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        let sender = sender(AllowedTargets::Any, lookup(&[&["127.0.0.1"]]));
        let outcome = send(&sender, format!("http://rebound.example:{port}/")).await;
        assert_eq!(outcome, WebhookOutcome::Delivered(StatusCode::NO_CONTENT));
    }

    #[tokio::test]
    async fn a_name_is_resolved_once_and_the_checked_address_is_called() {
        let (port, calls) = receiver().await;
        // If there were a second lookup, its address would be called.
        let lookup = lookup(&[&["127.0.0.1"], &["127.0.0.99"]]);
        let sender = sender(AllowedTargets::Any, lookup.clone());
        let outcome = send(&sender, format!("http://rebound.example:{port}/")).await;
        assert_eq!(outcome, WebhookOutcome::Delivered(StatusCode::NO_CONTENT));
        assert_eq!((lookup.0.1.load(Ordering::Relaxed), calls.load(Ordering::Relaxed)), (1, 1));
    }

    #[tokio::test]
    async fn a_target_that_is_no_longer_allowed_is_not_called() {
        let (port, calls) = receiver().await;
        let sender = sender(AllowedTargets::PublicHttps, lookup(&[&["1.1.1.1"]]));
        for url in [format!("http://127.0.0.1:{port}/"), format!("https://127.0.0.1:{port}/")] {
            assert!(matches!(
                send(&sender, url).await,
                WebhookOutcome::Failed { status: None, .. }
            ));
        }
        assert_eq!(calls.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn responses_are_classified_by_their_status() {
        let classified = |status: u16, after: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, after.parse().unwrap());
            classify_response(StatusCode::from_u16(status).unwrap(), &headers)
        };
        for good in [200, 202, 204, 299] {
            assert!(matches!(classified(good, "5"), WebhookOutcome::Delivered(_)));
        }
        assert_eq!(classified(410, "5"), WebhookOutcome::Gone);
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        for (status, after, seconds) in [
            (301, "5", None),
            (400, "5", None),
            (404, "5", None),
            (500, "5", None),
            (429, "5", Some(5)),
            (503, " 7 ", Some(7)),
            (503, "soon", None),
            (503, "-1", None),
            (503, "Fri, 31 Dec 1999 23:59:59 GMT", None),
        ] {
            let WebhookOutcome::Failed { retry_after, .. } = classified(status, after) else {
                panic!()
            };
            assert_eq!(retry_after, seconds.map(Duration::from_secs), "{status} {after}");
        }
        let WebhookOutcome::Failed { retry_after, .. } = classified(503, &date) else { panic!() };
        assert!(retry_after.unwrap() > Duration::from_secs(90));
    }
}
