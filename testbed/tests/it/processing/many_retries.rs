//! Thousands of requests wait for their retries while the broker is killed: none is lost, none comes early.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use pipeline::log_messages;
use serde_json::{Value, json};
use testbed::{
    process::json_message,
    rabbitmq::{Node, NodeOptions},
    shared_node,
};

use crate::support::{
    stack::{FAILED, Stack, Web, consuming},
    wait::drained,
};

/// Together these fail ten thousand times: a third of them once, a third twice, a third three times.
const REQUESTS: usize = 5_000;
const DELAYS: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(5)];
const WORKERS: usize = 64;

/// Posts all requests in one call and gives their ids.
async fn post(web: &Web) -> Result<Vec<String>> {
    let line = |n: usize| format!("{}\n", json!({"data": {"fail": n % 3 + 1, "n": n}}));
    let body = (0..REQUESTS).map(line).collect::<String>();
    let url = format!("{}/api/v1/processData/batch", web.base);
    let post = web.client.post(url).header("content-type", "application/x-ndjson");
    let answer = post.body(body).send().await?.text().await?;
    let id = |line: &str| {
        let line: Value = serde_json::from_str(line)?;
        Ok(line["requestId"].as_str().with_context(|| line.to_string())?.to_owned())
    };
    answer.lines().map(id).collect()
}

/// When each attempt at each request first failed, and when those after it began.
#[derive(Default)]
struct Attempts {
    failed: HashMap<(String, i64), SystemTime>,
    early: Vec<String>,
    failures: usize,
}

impl Attempts {
    fn note(&mut self, line: &str) -> Result<()> {
        let (began, failed) =
            (json_message(line, log_messages::STARTED), json_message(line, log_messages::FAILED));
        let Some(told) = began.as_ref().or(failed.as_ref()) else { return Ok(()) };
        let attempt = told["attempt"].as_i64().context("an attempt")?;
        let id = told["requestId"].as_str().context("an id")?;
        let at = humantime::parse_rfc3339(told["timestamp"].as_str().context("a time")?)?;
        if failed.is_some() {
            self.failures += 1;
            // One that was delivered again may fail again: the first has its own next attempt.
            self.failed.entry((id.to_owned(), attempt)).or_insert(at);
        } else if attempt > 1 {
            let before = self.failed.get(&(id.to_owned(), attempt - 1));
            let before = before.with_context(|| format!("{id} began {attempt} from nowhere"))?;
            let pause = DELAYS[usize::try_from(attempt - 2)?];
            if at < *before + pause {
                self.early.push(format!("{id} {attempt}: {:?}", at.duration_since(*before)));
            }
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_retries_survive_a_killed_broker_and_none_is_early() -> Result<()> {
    let mut node = Node::start(&shared_node::install().await?, NodeOptions::default()).await?;
    let stack = Stack::on(&node.url()).await?;
    let delays = DELAYS.map(|delay| humantime::format_duration(delay).to_string()).join(",");
    let web = stack.web().await?;
    let processor = stack.faulty(WORKERS).env("RETRY_DELAYS", delays).start()?;
    consuming(&processor, WORKERS).await?;
    let ids = post(&web).await?;
    assert_eq!(ids.len(), REQUESTS);
    let mut seen = 0;
    let half = |line: &str| {
        seen += usize::from(json_message(line, log_messages::FAILED).is_some());
        (seen == REQUESTS).then_some(())
    };
    processor.wait_for("half of the failures", half).await?;
    node.kill().await?;
    node.start_again().await?;
    for (n, id) in ids.iter().enumerate() {
        let ended = web.ended(id).await?;
        ensure!(ended["status"] == "completed" && ended["processingResults"]["n"] == n, "{ended}");
    }
    let foreign = stack.foreign().await?;
    drained(&foreign).await?;
    ensure!(foreign.depth(FAILED).await?.messages == 0);
    let mut attempts = Attempts::default();
    processor.lines().iter().try_for_each(|line| attempts.note(line))?;
    ensure!(attempts.failures >= 9_999, "{} attempts failed", attempts.failures);
    ensure!(attempts.early.is_empty(), "{} were early: {:?}", attempts.early.len(), attempts.early);
    Ok(())
}
