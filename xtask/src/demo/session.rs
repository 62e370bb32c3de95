//! A session of the demo: sends requests, checks their results, and replaces workers that die.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result, bail};
use pipeline::log_messages::RESULT;
use serde_json::{Value, json};
use testbed::{Program, process::WAIT_TIMEOUT};
use tokio::time::{Instant, interval, sleep_until, timeout_at};

use crate::{
    console,
    interrupt::Interrupt,
    system::{
        display::{Display, how_ended, result_text},
        launch::Launch,
        log_events::{Event, EventKind},
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
pub(super) struct Session {
    launch: Launch,
    /// How long a worker takes for a request.
    delay: &'static str,
    programs: Programs,
    display: Display,
    client: reqwest::Client,
    sent: usize,
    open: OpenRequests,
    /// Workers that have died, and when they are replaced; the earliest first.
    replacements: Vec<(Instant, &'static str)>,
}

/// A worker that takes `delay` for a request.
pub(super) fn worker(launch: &Launch, delay: &str) -> Program {
    launch.program("processor-service").env("PROCESSING_DELAY", delay)
}

impl Session {
    pub(super) fn new(launch: Launch, delay: &'static str, programs: Programs) -> Result<Self> {
        let client = testbed::http::builder().timeout(HTTP_TIMEOUT).build()?;
        let (display, open, replacements) =
            (Display::default(), OpenRequests::default(), Vec::new());
        Ok(Self { launch, delay, programs, display, client, sent: 0, open, replacements })
    }

    /// The base URL of the web service.
    pub(super) fn url(&self) -> String {
        self.programs.url()
    }

    /// The process id of a worker.
    pub(super) fn pid(&self, worker: &str) -> u32 {
        self.programs.process(worker).pid()
    }

    /// Sends a few requests and waits for all their results.
    pub(super) async fn send_a_few(&mut self, interrupt: &mut Interrupt) -> Result<()> {
        let deadline = Instant::now() + ONCE_TIMEOUT;
        for _ in 0..REQUESTS_ONCE {
            self.send().await?;
        }
        while !self.open.0.is_empty() {
            let next = timeout_at(deadline, self.programs.next_event());
            let Some(event) = interrupt.or(next).await else {
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
                event = self.programs.next_event() => self.handle(event).await?,
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
        let Self { programs, display, open, .. } = self;
        let ended = programs.stop(WAIT_TIMEOUT, |event| show(display, open, event)).await?;
        if let Some((program, status)) = ended.iter().find(|(_, status)| !status.success()) {
            let what = format!("ended with {status} after SIGTERM");
            return Err(self.programs.process(program).error(&what));
        }
        Ok(())
    }

    /// How many requests were sent and finished, and what becomes of the others. A private broker's data end with it.
    pub(super) fn summary(&self, is_private: bool) -> String {
        summary(self.sent, self.open.0.len(), is_private)
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
        self.open.0.insert(id.to_owned(), data);
        Ok(())
    }

    async fn handle(&mut self, event: Event) -> Result<()> {
        match event.kind {
            EventKind::Exit => self.ended(event.program).await,
            _ => show(&mut self.display, &mut self.open, &event),
        }
    }

    /// Has a worker replaced that has ended, which users are invited to cause. Without the web service the demo ends.
    async fn ended(&mut self, program: &'static str) -> Result<()> {
        let process = self.programs.process(program);
        let status = process.wait().await?;
        if program == WEB {
            return Err(process.error(&format!("ended with {status}")));
        }
        let how = how_ended(status);
        let seconds = REPLACE_DELAY.as_secs();
        self.display.program(program, &format!("{how}; it is replaced in {seconds} s"));
        self.replacements.push((Instant::now() + REPLACE_DELAY, program));
        Ok(())
    }

    fn replace_worker(&mut self) -> Result<()> {
        let (_, name) = self.replacements.remove(0);
        let worker = worker(&self.launch, self.delay);
        let pid = self.programs.start_worker(name, worker)?;
        self.display.program(name, &format!("is back (pid {pid})"));
        Ok(())
    }

    fn missing_results(&self) -> String {
        let missing: Vec<_> = self.open.0.values().map(String::as_str).collect();
        format!("no result for {} within {} s", missing.join(", "), ONCE_TIMEOUT.as_secs())
    }
}

fn summary(sent: usize, open: usize, is_private: bool) -> String {
    let rest = match (open, is_private) {
        (0, _) => String::new(),
        (_, true) => format!(", {open} were still waiting and are gone with the demo's own broker"),
        (_, false) => format!(", {open} wait in the broker for the next worker"),
    };
    format!("{sent} requests sent, {} results{rest}", sent - open)
}

/// The data of requests that have no result yet, by id.
#[derive(Default)]
struct OpenRequests(HashMap<String, String>);

impl OpenRequests {
    /// Checks that the result of one of our requests is what the simulated work makes of its data.
    fn check(&mut self, log: &Value) -> Result<()> {
        let Some(data) = self.0.remove(log["requestId"].as_str().unwrap_or_default()) else {
            return Ok(());
        };
        let result = result_text(log);
        if log["status"] != "completed" || !result.contains(&format!("{data}-processed")) {
            bail!("the result of {data:?} is {result}, with status {}", log["status"]);
        }
        Ok(())
    }
}

/// Shows a line of a program, and checks it if it has a result.
fn show(display: &mut Display, open: &mut OpenRequests, event: &Event) -> Result<()> {
    display.event(event);
    match &event.kind {
        EventKind::Log(log) if log["message"] == RESULT => open.check(log),
        _ => Ok(()),
    }
}

/// Waits until a replacement is due; for ever if there is none.
async fn due(replacement: Option<(Instant, &'static str)>) {
    match replacement {
        Some((time, _)) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_becomes_of_requests_without_a_result() {
        assert_eq!(summary(5, 0, true), "5 requests sent, 5 results");
        let gone = "5 requests sent, 3 results, 2 were still waiting and are gone with the demo's own broker";
        assert_eq!(summary(5, 2, true), gone);
        let kept = "5 requests sent, 3 results, 2 wait in the broker for the next worker";
        assert_eq!(summary(5, 2, false), kept);
    }
}
