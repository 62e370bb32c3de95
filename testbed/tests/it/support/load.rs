//! Clients that post without pause during an outage, and check every answer.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;
use testbed::process::WAIT_TIMEOUT;
use tokio::{sync::watch, task::JoinSet};

use crate::support::stack::Web;

/// How long a caller may wait beyond `PUBLISH_TIMEOUT`: what a busy machine needs to run us at all, and
/// much less than an outage lasts.
const SLACK: Duration = Duration::from_secs(8);

/// How long a client waits before its next request.
const POST_INTERVAL: Duration = Duration::from_millis(10);
/// How long a client waits after it was refused.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Load on a web service.
pub(crate) struct Load {
    clients: JoinSet<Result<Seen>>,
    accepted: watch::Sender<usize>,
    stop: watch::Sender<bool>,
}

/// What the clients saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The ids that were answered with 202.
    pub(crate) accepted: Vec<String>,
    /// How many were answered that nothing was sent.
    pub(crate) unavailable: usize,
    /// How many were answered that the outcome is unknown.
    pub(crate) unknown: usize,
    /// Why some got no answer.
    pub(crate) broken: Vec<String>,
    /// The longest wait for any answer.
    pub(crate) longest: Duration,
}

impl Load {
    /// Starts `clients`, each posting `bytes` of data again and again.
    pub(crate) fn start(web: &Web, clients: usize, bytes: usize) -> Self {
        let accepted = watch::Sender::new(0);
        let stop = watch::Sender::new(false);
        let mut load = Self { clients: JoinSet::new(), accepted, stop };
        for _ in 0..clients {
            let client = Client {
                url: format!("{}/api/v1/processData", web.base),
                http: web.client.clone(),
                body: format!("{{\"data\":\"{}\"}}", "x".repeat(bytes)),
                accepted: load.accepted.clone(),
                stop: load.stop.subscribe(),
            };
            load.clients.spawn(client.run());
        }
        load
    }

    /// Waits until `more` requests were accepted from now on.
    pub(crate) async fn accepts(&self, more: usize) -> Result<()> {
        let mut accepted = self.accepted.subscribe();
        let until = *accepted.borrow() + more;
        let reached = accepted.wait_for(|count| *count >= until);
        let waited = tokio::time::timeout(WAIT_TIMEOUT, reached).await;
        ensure!(waited.is_ok(), "the service does not accept requests any more");
        Ok(())
    }

    /// Stops the clients and gives what they saw together. Fails if one of them waited longer than
    /// it had to.
    pub(crate) async fn stop(self, publish_timeout: Duration) -> Result<Seen> {
        let seen = self.stop_refused(publish_timeout).await?;
        ensure!(seen.broken.is_empty(), "callers got no answer: {:?}", seen.broken);
        Ok(seen)
    }

    /// Stops the clients of a service that has stopped itself: callers who came too late to be
    /// taken got no answer.
    pub(crate) async fn stop_refused(mut self, publish_timeout: Duration) -> Result<Seen> {
        self.stop.send_replace(true);
        let mut all = Seen::default();
        while let Some(seen) = self.clients.join_next().await {
            let seen = seen??;
            all.broken.extend(seen.broken);
            all.accepted.extend(seen.accepted);
            all.unavailable += seen.unavailable;
            all.unknown += seen.unknown;
            all.longest = all.longest.max(seen.longest);
        }
        let Seen { accepted, unavailable, unknown, longest, broken } = &all;
        let broken = broken.len();
        eprintln!(
            "load: {} accepted, {unavailable} unavailable, {unknown} unknown, {broken} without answer, longest wait {longest:?}",
            accepted.len()
        );
        ensure!(*longest < publish_timeout + SLACK, "a caller waited {longest:?}");
        Ok(all)
    }
}

struct Client {
    url: String,
    http: reqwest::Client,
    body: String,
    accepted: watch::Sender<usize>,
    stop: watch::Receiver<bool>,
}

impl Client {
    async fn run(self) -> Result<Seen> {
        let mut seen = Seen::default();
        while !*self.stop.borrow() {
            let began = Instant::now();
            let post = self.http.post(&self.url).header("content-type", "application/json");
            let answer = match post.body(self.body.clone()).send().await {
                Ok(answer) => answer,
                Err(error) => {
                    seen.broken.push(format!("{error:?}"));
                    tokio::time::sleep(RETRY_INTERVAL).await;
                    continue;
                }
            };
            let (status, retry) = (answer.status(), answer.headers().contains_key("retry-after"));
            let answer: Value = answer.json().await?;
            seen.longest = seen.longest.max(began.elapsed());
            match (status.as_u16(), answer["type"].as_str()) {
                (202, _) => {
                    seen.accepted.push(answer["requestId"].as_str().unwrap_or_default().to_owned());
                    self.accepted.send_modify(|count| *count += 1);
                }
                (503, Some("unavailable")) if retry => seen.unavailable += 1,
                (503, Some("outcome-unknown")) if retry => seen.unknown += 1,
                _ => anyhow::bail!("an answer that nobody promised: {status} {answer}"),
            }
            let pause = if status == 202 { POST_INTERVAL } else { RETRY_INTERVAL };
            tokio::time::sleep(pause).await;
        }
        Ok(seen)
    }
}
