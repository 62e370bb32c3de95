//! Clients that post requests with data of their own, retry, and remember which were accepted.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use testbed::process::WAIT_TIMEOUT;
use tokio::{sync::watch, task::JoinSet};

/// How long a client waits after it was refused or got no answer.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// How long [`Posting::reaches`] and its like wait.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(120);

/// Requests being posted.
pub(crate) struct Posting {
    clients: JoinSet<Result<Posted>>,
    accepted: watch::Sender<usize>,
    total: usize,
}

/// What the clients were told.
#[derive(Debug, Default)]
pub(crate) struct Posted {
    /// The ids that were answered with 202, with the data that was posted.
    pub(crate) accepted: Vec<(String, String)>,
    /// The ids of which nobody knew whether they were accepted, with the data.
    pub(crate) unknown: Vec<(String, String)>,
    /// How many were refused.
    pub(crate) refused: usize,
    /// How many got no answer.
    pub(crate) broken: usize,
}

impl Posting {
    /// Starts clients that take turns with these services until `total` requests were accepted.
    pub(crate) fn start(bases: &[String], clients: usize, total: usize) -> Self {
        let accepted = watch::Sender::new(0);
        let mut posting = Self { clients: JoinSet::new(), accepted, total };
        for number in 0..clients {
            let (bases, accepted) = (bases.to_vec(), posting.accepted.clone());
            posting.clients.spawn(Client { number, bases, accepted, total }.run());
        }
        posting
    }

    /// Waits until `count` requests were accepted.
    pub(crate) async fn reaches(&self, count: usize) -> Result<()> {
        ensure!(count <= self.total, "only {} are posted", self.total);
        let mut accepted = self.accepted.subscribe();
        let reached =
            tokio::time::timeout(PROGRESS_TIMEOUT, accepted.wait_for(|now| *now >= count));
        reached.await.with_context(|| format!("{count} requests are not accepted"))??;
        Ok(())
    }

    /// Waits until all are accepted, and gives what the clients were told.
    pub(crate) async fn finish(mut self) -> Result<Posted> {
        self.reaches(self.total).await?;
        let mut all = Posted::default();
        while let Some(posted) = self.clients.join_next().await {
            let posted = posted??;
            all.accepted.extend(posted.accepted);
            all.unknown.extend(posted.unknown);
            all.refused += posted.refused;
            all.broken += posted.broken;
        }
        let Posted { accepted, unknown, refused, broken } = &all;
        eprintln!(
            "posted: {} accepted, {} unknown, {refused} refused, {broken} without answer",
            accepted.len(),
            unknown.len()
        );
        Ok(all)
    }
}

struct Client {
    number: usize,
    bases: Vec<String>,
    accepted: watch::Sender<usize>,
    total: usize,
}

impl Client {
    async fn run(self) -> Result<Posted> {
        let http = testbed::http::builder().timeout(WAIT_TIMEOUT).build()?;
        let mut posted = Posted::default();
        for n in 0.. {
            if *self.accepted.borrow() >= self.total {
                break;
            }
            let base = &self.bases[(self.number + n) % self.bases.len()];
            let data = format!("{}/{n}", self.number);
            let post = http.post(format!("{base}/api/v1/processData"));
            let body = json!({ "data": data });
            let answer = async {
                let answer = post.json(&body).send().await?;
                let status = answer.status().as_u16();
                Ok::<(u16, Value), reqwest::Error>((status, answer.json().await?))
            };
            if !posted.note(data, answer.await)? {
                tokio::time::sleep(RETRY_INTERVAL).await;
                continue;
            }
            self.accepted.send_modify(|count| *count += 1);
        }
        Ok(posted)
    }
}

impl Posted {
    /// Whether the request was accepted.
    fn note(&mut self, data: String, answer: Result<(u16, Value), reqwest::Error>) -> Result<bool> {
        let Ok((status, answer)) = answer else {
            self.broken += 1;
            return Ok(false);
        };
        let id = || answer["requestId"].as_str().map(str::to_owned).context("a requestId");
        match (status, answer["type"].as_str()) {
            (202, _) => self.accepted.push((id()?, data)),
            (503, Some("unavailable")) => self.refused += 1,
            (503, Some("outcome-unknown")) => self.unknown.push((id()?, data)),
            _ => bail!("an answer that nobody promised: {status} {answer}"),
        }
        Ok(status == 202)
    }
}
