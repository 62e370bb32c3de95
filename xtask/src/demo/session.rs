//! A session of the demo: sends requests, checks their results, and replaces workers that die.

use std::{collections::HashMap, os::unix::process::ExitStatusExt, time::Duration};

use anyhow::{Context, Result, bail};
use pipeline::log_messages::RESULT;
use serde_json::{Value, json};
use tokio::time::{Instant, interval, sleep_until, timeout_at};

use super::{
    display::{Display, result_text},
    log_events::{Event, EventKind, LogEvents},
};
use crate::{
    console,
    interrupt::Interrupt,
    system::{
        broker::Broker,
        programs::{Programs, WEB},
    },
};

const REQUESTS_ONCE: usize = 6;
const ONCE_TIMEOUT: Duration = Duration::from_secs(90);
const SEND_INTERVAL: Duration = Duration::from_secs(2);
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause before a dead worker is replaced: long enough to see the other one work alone.
const REPLACE_DELAY: Duration = Duration::from_secs(8);

/// A running demo.
pub(super) struct Session<'a> {
    broker: &'a Broker,
    programs: Programs,
    events: LogEvents,
    display: Display,
    client: reqwest::Client,
    sent: usize,
    /// The data of requests that have no result yet, by id.
    open: HashMap<String, String>,
    /// Workers that have died, and when they are replaced; the earliest first.
    replacements: Vec<(Instant, &'static str)>,
}

impl<'a> Session<'a> {
    pub(super) fn new(broker: &'a Broker, programs: Programs) -> Result<Self> {
        let events = LogEvents::new();
        events.follow(WEB, &programs.web);
        for worker in &programs.workers {
            events.follow(worker.name, &worker.process);
        }
        let client = testbed::http::builder().timeout(HTTP_TIMEOUT).build()?;
        let (display, open, replacements) = (Display::default(), HashMap::new(), Vec::new());
        Ok(Self { broker, programs, events, display, client, sent: 0, open, replacements })
    }

    /// Sends a few requests and waits for all their results.
    pub(super) async fn send_a_few(&mut self, interrupt: &mut Interrupt) -> Result<()> {
        let deadline = Instant::now() + ONCE_TIMEOUT;
        for _ in 0..REQUESTS_ONCE {
            self.send().await?;
        }
        while !self.open.is_empty() {
            let Some(event) = interrupt.or(timeout_at(deadline, self.events.next())).await else {
                bail!("stopped before all results had come");
            };
            let event = event.with_context(|| self.missing_results())?;
            if matches!(event.kind, EventKind::Exit) {
                bail!("{} ended in the middle of the demo", event.program);
            }
            self.handle(event).await?;
        }
        Ok(())
    }

    /// Sends a request every [`SEND_INTERVAL`] until an interrupt.
    pub(super) async fn run_until(&mut self, interrupt: &mut Interrupt) -> Result<()> {
        let mut ticks = interval(SEND_INTERVAL);
        loop {
            let replacement = self.replacements.first().copied();
            tokio::select! {
                () = interrupt.received() => return Ok(()),
                event = self.events.next() => self.handle(event).await?,
                _ = ticks.tick() => if let Err(error) = self.send().await {
                    self.display.send_failed(&format!("{error:#}"));
                },
                () = due(replacement) => self.replace_worker()?,
            }
        }
    }

    /// Stops the programs, which finish the requests in flight: first the workers, then the web service, which stores
    /// their results.
    pub(super) async fn drain(&mut self) -> Result<()> {
        console::blank_line();
        console::step("demo", "stopping: the programs finish the requests in flight");
        let workers = self.programs.workers.iter();
        let running = workers.filter(|worker| worker.process.exit_status().is_none());
        let names: Vec<_> = running.map(|worker| worker.name).collect();
        self.stop(names).await?;
        let web_runs = self.programs.web.exit_status().is_none();
        self.stop(if web_runs { vec![WEB] } else { Vec::new() }).await
    }

    /// How many requests were sent and finished.
    pub(super) fn summary(&self) -> String {
        let open = self.open.len();
        let rest = if open == 0 { String::new() } else { format!(", {open} not finished") };
        format!("{} requests sent, {} results{rest}", self.sent, self.sent - open)
    }

    async fn send(&mut self) -> Result<()> {
        let data = format!("invoice-{}", self.sent + 1);
        let url = format!("{}/api/v1/processData", self.programs.url());
        let response = self.client.post(url).json(&json!({ "data": data })).send().await?;
        let (status, text) = (response.status(), response.text().await?);
        if status != reqwest::StatusCode::ACCEPTED {
            bail!("the web service answered {status}: {text}");
        }
        let body: Value = serde_json::from_str(&text).context("the response is not JSON")?;
        let id = body["requestId"].as_str().context("the response has no requestId")?;
        self.display.sent(id, &data);
        self.sent += 1;
        self.open.insert(id.to_owned(), data);
        Ok(())
    }

    async fn handle(&mut self, event: Event) -> Result<()> {
        match event.kind {
            EventKind::OtherLine(line) => self.display.program(event.program, &line),
            EventKind::Log(log) => {
                self.display.log(event.program, &log);
                if log["message"] == RESULT {
                    self.check(&log)?;
                }
            }
            EventKind::Exit => self.ended(event.program).await?,
        }
        Ok(())
    }

    /// Checks that the result of one of our requests is what the simulated work makes of its data.
    fn check(&mut self, log: &Value) -> Result<()> {
        let Some(data) = self.open.remove(log["requestId"].as_str().unwrap_or_default()) else {
            return Ok(());
        };
        let result = result_text(log);
        if log["status"] != "completed" || !result.contains(&format!("{data}-processed")) {
            bail!("the result of {data:?} is {result}, with status {}", log["status"]);
        }
        Ok(())
    }

    /// Has a worker replaced that has ended, which users are invited to cause. Without the web service the demo ends.
    async fn ended(&mut self, program: &'static str) -> Result<()> {
        let process = self.programs.process(program);
        let status = process.wait().await?;
        if program == WEB {
            return Err(process.error(&format!("ended with {status}")));
        }
        let how = status.signal().map_or_else(
            || format!("ended with {status}"),
            |signal| format!("was killed by signal {signal}"),
        );
        let seconds = REPLACE_DELAY.as_secs();
        self.display.program(program, &format!("{how}; it is replaced in {seconds} s"));
        self.replacements.push((Instant::now() + REPLACE_DELAY, program));
        Ok(())
    }

    fn replace_worker(&mut self) -> Result<()> {
        let (_, name) = self.replacements.remove(0);
        let worker = self.programs.replace(self.broker, name)?;
        self.events.follow(name, &worker.process);
        self.display.program(name, &format!("is back (pid {})", worker.process.pid()));
        Ok(())
    }

    /// Sends SIGTERM to programs, and shows their events until they have ended.
    async fn stop(&mut self, mut names: Vec<&'static str>) -> Result<()> {
        for name in &names {
            self.programs.process(name).terminate();
        }
        let deadline = Instant::now() + testbed::process::WAIT_TIMEOUT;
        while !names.is_empty() {
            let event = timeout_at(deadline, self.events.next()).await;
            let event = event.with_context(|| format!("{} did not stop", names.join(" and ")))?;
            if !matches!(event.kind, EventKind::Exit) {
                self.handle(event).await?;
                continue;
            }
            names.retain(|name| *name != event.program);
            let process = self.programs.process(event.program);
            let status = process.wait().await?;
            if !status.success() {
                return Err(process.error(&format!("ended with {status} after SIGTERM")));
            }
        }
        Ok(())
    }

    fn missing_results(&self) -> String {
        let missing: Vec<_> = self.open.values().map(String::as_str).collect();
        format!("no result for {} within {} s", missing.join(", "), ONCE_TIMEOUT.as_secs())
    }
}

/// Waits until a replacement is due; for ever if there is none.
async fn due(replacement: Option<(Instant, &'static str)>) {
    match replacement {
        Some((time, _)) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
