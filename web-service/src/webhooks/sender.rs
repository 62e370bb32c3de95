//! One attempt to deliver a callback.

use std::{
    error::Error,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use reqwest::{Client, Response, StatusCode, header, redirect};
use url::Url;

use crate::webhooks::{
    dns::{Checked, Names},
    signature::Secrets,
    target::Reach,
};

/// How long it may take to be connected.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the whole attempt may take.
pub(crate) const WHOLE: Duration = Duration::from_secs(15);
/// How many bytes of an answer are read, for the sake of the connection: it can be used again.
const READ: usize = 64 << 10;
/// How many characters of a reason are kept.
const REASON: usize = 200;

/// Delivers callbacks.
pub(crate) struct Sender {
    client: Client,
    secrets: Secrets,
    reach: Reach,
}

/// A callback that is about to be delivered.
pub(crate) struct Letter {
    pub(crate) url: String,
    /// The same at each attempt, so that the receiver can tell that it has it already.
    pub(crate) id: String,
    pub(crate) body: String,
}

/// What came of an attempt.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// The receiver has it.
    Delivered(StatusCode),
    /// The receiver wants no more of them.
    Gone,
    /// It did not work out.
    Failed { status: Option<StatusCode>, reason: String, retry_after: Option<Duration> },
}

impl Sender {
    /// A sender whose connections go only where they may.
    ///
    /// # Errors
    /// If this machine has no certificates to check receivers by.
    pub(crate) fn new(secrets: Secrets, reach: Reach, names: impl Names) -> anyhow::Result<Self> {
        // Installed already is as good: every part of the program uses the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            // A proxy would look names up by itself.
            .no_proxy()
            .dns_resolver(Checked { names, reach })
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .user_agent(concat!("slowlane/", env!("CARGO_PKG_VERSION")));
        let client = client.build().context(
            "callbacks can't be sent: this machine has no certificates of authorities to check receivers by; \
             install them (ca-certificates) or name their file in SSL_CERT_FILE",
        )?;
        Ok(Self { client, secrets, reach })
    }

    /// Tries once.
    pub(crate) async fn send(&self, letter: Letter) -> Answer {
        // What may be called can have changed since the address was taken.
        let url = match checked(self.reach, &letter.url) {
            Ok(url) => url,
            Err(reason) => return Answer::failed(reason),
        };
        let timestamp = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let signature = self.secrets.sign(&letter.id, timestamp, letter.body.as_bytes());
        let post = self.client.post(url).header(header::CONTENT_TYPE, "application/json");
        let post = post.header("webhook-id", letter.id).header("webhook-timestamp", timestamp);
        match post.header("webhook-signature", signature).body(letter.body).send().await {
            Ok(response) => {
                let answer = judge(response.status(), response.headers());
                read(response).await;
                answer
            }
            Err(error) => Answer::failed(reason(&error)),
        }
    }
}

fn checked(reach: Reach, url: &str) -> Result<Url, String> {
    let url = Url::parse(url).map_err(|error| error.to_string())?;
    reach.check(&url).map(|_| url)
}

impl Answer {
    pub(crate) fn failed(reason: String) -> Self {
        Self::Failed { status: None, reason, retry_after: None }
    }
}

/// What an answer means.
fn judge(status: StatusCode, headers: &header::HeaderMap) -> Answer {
    if status.is_success() {
        return Answer::Delivered(status);
    }
    if status == StatusCode::GONE {
        return Answer::Gone;
    }
    let mut reason = format!("the receiver answered {}", status.as_u16());
    if status.is_redirection() {
        reason.push_str("; redirects are not followed");
    }
    let heeded = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    let after = headers.get(header::RETRY_AFTER).filter(|_| heeded.contains(&status));
    let retry_after = after.and_then(|after| seconds_or_date(after.to_str().ok()?));
    Answer::Failed { status: Some(status), reason, retry_after }
}

fn seconds_or_date(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok()
}

/// Reads an answer to its end, unless that is far or takes too long.
async fn read(mut response: Response) {
    let mut left = READ;
    while let Ok(Some(piece)) = response.chunk().await {
        match left.checked_sub(piece.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// Why there was no answer. Without the address, which may hold what nobody is to see.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let text = match (error.is_connect(), error.is_timeout()) {
        (true, true) => format!("no connection within {} s", CONNECT.as_secs()),
        (false, true) => format!("no answer within {} s", WHOLE.as_secs()),
        (true, false) => format!("no connection: {cause}"),
        (false, false) => format!("no answer: {cause}"),
    };
    text.chars().take(REASON).collect()
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

    /// Gives another list of addresses each time, and the last one for ever.
    #[derive(Clone)]
    struct Turns(Arc<(Vec<Vec<SocketAddr>>, AtomicUsize)>);

    impl Names for Turns {
        async fn addresses(&self, _: &str) -> io::Result<Vec<SocketAddr>> {
            let (turns, at) = &*self.0;
            Ok(turns[at.fetch_add(1, Ordering::Relaxed).min(turns.len() - 1)].clone())
        }
    }

    fn names(turns: &[&[&str]]) -> Turns {
        let address = |text: &&str| SocketAddr::new(text.parse().unwrap(), 0);
        let turns = turns.iter().map(|turn| turn.iter().map(address).collect()).collect();
        Turns(Arc::new((turns, AtomicUsize::new(0))))
    }

    fn sender(reach: Reach, names: Turns) -> Sender {
        Sender::new(Secrets::parse(SECRET).unwrap(), reach, names).unwrap()
    }

    async fn send(sender: &Sender, url: String) -> Answer {
        sender.send(Letter { url, id: "1-0".to_owned(), body: "{}".to_owned() }).await
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
    async fn a_name_that_leads_inside_is_refused_when_the_connection_is_made() {
        let (port, calls) = receiver().await;
        let spoilt: &[&[&str]] =
            &[&["127.0.0.1"], &["::1"], &["1.1.1.1", "127.0.0.1"], &["::ffff:127.0.0.1"]];
        for turn in spoilt {
            let sender = sender(Reach::Public, names(&[turn]));
            let answer = send(&sender, format!("https://rebound.example:{port}/")).await;
            let Answer::Failed { reason, .. } = answer else { panic!("{answer:?}") };
            assert!(reason.contains("not public") && !reason.contains("127"), "{reason}");
        }
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        let sender = sender(Reach::Anywhere, names(&[&["127.0.0.1"]]));
        let answer = send(&sender, format!("http://rebound.example:{port}/")).await;
        assert_eq!(answer, Answer::Delivered(StatusCode::NO_CONTENT));
    }

    #[tokio::test]
    async fn a_name_is_asked_for_once_and_what_was_checked_is_called() {
        let (port, calls) = receiver().await;
        // The second answer would be the one that is called, if there were a second question.
        let turns = names(&[&["127.0.0.1"], &["127.0.0.99"]]);
        let sender = sender(Reach::Anywhere, turns.clone());
        let answer = send(&sender, format!("http://rebound.example:{port}/")).await;
        assert_eq!(answer, Answer::Delivered(StatusCode::NO_CONTENT));
        assert_eq!((turns.0.1.load(Ordering::Relaxed), calls.load(Ordering::Relaxed)), (1, 1));
    }

    #[tokio::test]
    async fn an_address_that_is_no_longer_allowed_is_not_called() {
        let (port, calls) = receiver().await;
        let sender = sender(Reach::Public, names(&[&["1.1.1.1"]]));
        for url in [format!("http://127.0.0.1:{port}/"), format!("https://127.0.0.1:{port}/")] {
            assert!(matches!(send(&sender, url).await, Answer::Failed { status: None, .. }));
        }
        assert_eq!(calls.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn answers_are_judged_by_their_status() {
        let judged = |status: u16, after: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, after.parse().unwrap());
            judge(StatusCode::from_u16(status).unwrap(), &headers)
        };
        for good in [200, 202, 204, 299] {
            assert!(matches!(judged(good, "5"), Answer::Delivered(_)));
        }
        assert_eq!(judged(410, "5"), Answer::Gone);
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
            let Answer::Failed { retry_after, .. } = judged(status, after) else { panic!() };
            assert_eq!(retry_after, seconds.map(Duration::from_secs), "{status} {after}");
        }
        let Answer::Failed { retry_after, .. } = judged(503, &date) else { panic!() };
        assert!(retry_after.unwrap() > Duration::from_secs(90));
    }
}
