//! The play itself: requests go in, results come out, and sometimes a worker dies.

use std::{collections::HashMap, os::unix::process::ExitStatusExt, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, interval, sleep_until, timeout_at};

use super::{
    broker::Broker,
    cast::{Cast, WEB},
    feed::{Event, Feed, What},
    view::{View, result_text},
};
use crate::stop::Stop;

const REQUESTS_ONCE: usize = 6;
const ONCE_LIMIT: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_secs(2);
/// Time enough to see the other worker carry on alone.
const REPLACED_AFTER: Duration = Duration::from_secs(8);

/// The state of the play.
pub(super) struct Play<'a> {
    broker: &'a Broker,
    cast: Cast,
    feed: Feed,
    view: View,
    client: reqwest::Client,
    sent: usize,
    /// What was sent, by id, as long as its result is missing.
    open: HashMap<String, String>,
    replacements: Vec<(Instant, &'static str)>,
}

impl<'a> Play<'a> {
    pub(super) fn new(broker: &'a Broker, cast: Cast) -> Result<Self> {
        let feed = Feed::new();
        feed.follow(WEB, &cast.web);
        for worker in &cast.workers {
            feed.follow(worker.name, &worker.process);
        }
        let client = testbed::http::builder().timeout(Duration::from_secs(30)).build()?;
        let (view, open, replacements) = (View::default(), HashMap::new(), Vec::new());
        Ok(Self { broker, cast, feed, view, client, sent: 0, open, replacements })
    }

    /// Sends a few requests and waits for all their results.
    pub(super) async fn once(&mut self, stop: &mut Stop) -> Result<()> {
        let deadline = Instant::now() + ONCE_LIMIT;
        for _ in 0..REQUESTS_ONCE {
            self.send().await?;
        }
        while !self.open.is_empty() {
            let Some(event) = stop.or(timeout_at(deadline, self.feed.next())).await else {
                bail!("stopped before all results were there");
            };
            let event = event.with_context(|| self.missing())?;
            if matches!(event.what, What::Ended) {
                bail!("{} ended in the middle of the demo", event.who);
            }
            self.show(event).await?;
        }
        Ok(())
    }

    /// Sends a request every now and then until somebody wants to stop.
    pub(super) async fn until_stopped(&mut self, stop: &mut Stop) -> Result<()> {
        let mut pause = interval(PAUSE);
        loop {
            let replacement = self.replacements.first().copied();
            tokio::select! {
                () = stop.asked() => return Ok(()),
                event = self.feed.next() => self.show(event).await?,
                _ = pause.tick() => if let Err(error) = self.send().await { self.view.refused(&format!("{error:#}")) },
                () = at(replacement) => self.replace()?,
            }
        }
    }

    /// Lets everybody finish what they have in hand: first the workers, then the web service, which takes their results.
    pub(super) async fn drain(&mut self) -> Result<()> {
        crate::say::gap();
        crate::say::step("demo", "stopping: everybody finishes what they have in hand");
        let alive =
            self.cast.workers.iter().filter(|worker| worker.process.exit_status().is_none());
        let names: Vec<_> = alive.map(|worker| worker.name).collect();
        self.end(names).await?;
        let web = if self.cast.web.exit_status().is_none() { vec![WEB] } else { Vec::new() };
        self.end(web).await
    }

    /// One sentence about what was done.
    pub(super) fn summary(&self) -> String {
        let open = self.open.len();
        let rest = if open == 0 { String::new() } else { format!(", {open} not finished") };
        format!("{} requests sent, {} results{rest}", self.sent, self.sent - open)
    }

    async fn send(&mut self) -> Result<()> {
        let data = format!("invoice-{}", self.sent + 1);
        let url = format!("{}/api/v1/processData", self.cast.url());
        let answer =
            self.client.post(url).json(&serde_json::json!({ "data": data })).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        if status != reqwest::StatusCode::ACCEPTED {
            bail!("the web service answered {status}: {text}");
        }
        let body: serde_json::Value =
            serde_json::from_str(&text).context("the answer is not JSON")?;
        let id = body["requestId"].as_str().context("the answer has no requestId")?;
        self.view.sent(id, &data);
        self.sent += 1;
        self.open.insert(id.to_owned(), data);
        Ok(())
    }

    async fn show(&mut self, event: Event) -> Result<()> {
        match event.what {
            What::Said(line) => self.view.about(event.who, &line),
            What::Logged(log) => {
                self.view.logged(event.who, &log);
                if log["message"] == "result" {
                    self.check(&log)?;
                }
            }
            What::Ended => self.mourn(event.who).await?,
        }
        Ok(())
    }

    /// A result of one of our own requests must be what the simulated work makes of its data.
    fn check(&mut self, log: &serde_json::Value) -> Result<()> {
        let Some(data) = self.open.remove(log["requestId"].as_str().unwrap_or_default()) else {
            return Ok(());
        };
        let result = result_text(log);
        if log["status"] != "completed" || !result.contains(&format!("{data}-processed")) {
            bail!("the result of {data:?} is {result}, with status {}", log["status"]);
        }
        Ok(())
    }

    /// A worker may die: that is a part of the show. Without the web service there is none.
    async fn mourn(&mut self, who: &'static str) -> Result<()> {
        let process = self.cast.process(who);
        let status = process.wait().await?;
        if who == WEB {
            return Err(process.error(&format!("ended with {status}")));
        }
        let how = status.signal().map_or_else(
            || format!("ended with {status}"),
            |signal| format!("was killed by signal {signal}"),
        );
        self.view.about(who, &format!("{how}; a new one comes in {} s", REPLACED_AFTER.as_secs()));
        self.replacements.push((Instant::now() + REPLACED_AFTER, who));
        Ok(())
    }

    fn replace(&mut self) -> Result<()> {
        let (_, name) = self.replacements.remove(0);
        let worker = self.cast.replace(self.broker, name)?;
        self.feed.follow(name, &worker.process);
        self.view.about(name, &format!("is back (pid {})", worker.process.pid()));
        Ok(())
    }

    /// Asks programs to stop, and shows what they still do until they have.
    async fn end(&mut self, mut names: Vec<&'static str>) -> Result<()> {
        for name in &names {
            self.cast.process(name).terminate();
        }
        let deadline = Instant::now() + testbed::process::WAIT_TIMEOUT;
        while !names.is_empty() {
            let event = timeout_at(deadline, self.feed.next()).await;
            let event = event.with_context(|| format!("{} did not stop", names.join(" and ")))?;
            if !matches!(event.what, What::Ended) {
                self.show(event).await?;
                continue;
            }
            names.retain(|name| *name != event.who);
            let process = self.cast.process(event.who);
            let status = process.wait().await?;
            if !status.success() {
                return Err(
                    process.error(&format!("ended with {status} when it was asked to stop"))
                );
            }
        }
        Ok(())
    }

    fn missing(&self) -> String {
        let missing: Vec<_> = self.open.values().map(String::as_str).collect();
        format!("no result for {} within {} s", missing.join(", "), ONCE_LIMIT.as_secs())
    }
}

async fn at(replacement: Option<(Instant, &'static str)>) {
    match replacement {
        Some((time, _)) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
