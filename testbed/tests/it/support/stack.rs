//! The whole system on one virtual host, with the verbs that tests are written in.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use pipeline::log_messages;
use serde_json::Value;
use testbed::{
    Program, RawPublisher,
    foreign::Foreign,
    http,
    process::{WAIT_TIMEOUT, json_message},
    program::Running,
    shared_node,
};

/// The queues, as users know them.
pub(crate) const REQUESTS: &str = "processing.requests";
pub(crate) const RESULTS: &str = "processing.results";
pub(crate) const FAILED: &str = "processing.failed";
pub(crate) const UNREADABLE: &str = "processing.unreadable";

const ANY_PORT: &str = "127.0.0.1:0";

/// A broker's virtual host with Slowlane on it.
pub(crate) struct Stack {
    pub(crate) url: String,
}

impl Stack {
    /// The whole system on a virtual host of its own.
    pub(crate) async fn fresh() -> Result<Self> {
        Self::on(&shared_node::vhost().await.url).await
    }

    /// Runs `setup` on the virtual host.
    pub(crate) async fn on(url: &str) -> Result<Self> {
        Self::set_up(url, &[]).await
    }

    /// The same with queues of this kind: `quorum` or `classic`.
    pub(crate) async fn of_kind(kind: &str, url: &str) -> Result<Self> {
        Self::set_up(url, &[("QUEUE_TYPE", kind)]).await
    }

    /// The same with queues for these types, on a virtual host of its own.
    pub(crate) async fn of_types(types: &str) -> Result<Self> {
        Self::set_up(&shared_node::vhost().await.url, &[("TYPES", types)]).await
    }

    async fn set_up(url: &str, settings: &[(&str, &str)]) -> Result<Self> {
        let stack = Self { url: url.to_owned() };
        let setup =
            settings.iter().fold(stack.setup(), |setup, (name, value)| setup.env(name, value));
        // Services would declare what it did not, in their own way.
        setup.start()?.succeed_within(WAIT_TIMEOUT).await?;
        Ok(stack)
    }

    /// A program for this virtual host. One waiting queue is enough for most: the shared broker carries those of all tests.
    pub(crate) fn program(&self, name: &str) -> Program {
        let program = Program::new(name).env("AMQP_URL", &self.url).env("LOG_FORMAT", "json");
        program.env("RETRY_DELAYS", "1s")
    }

    pub(crate) fn setup(&self) -> Program {
        self.program("setup")
    }

    /// A web service on a free port, connected and consuming.
    pub(crate) async fn web(&self) -> Result<Web> {
        Web::start(self.program("web-service")).await
    }

    /// A processor whose work takes `delay`, with all its workers consuming.
    pub(crate) async fn processor(&self, workers: usize, delay: &str) -> Result<Running> {
        self.start_processor(self.program("processor-service"), workers, delay).await
    }

    pub(crate) async fn start_processor(
        &self,
        program: Program,
        workers: usize,
        delay: &str,
    ) -> Result<Running> {
        let program = program.env("WORKERS", workers.to_string()).env("PROCESSING_DELAY", delay);
        let processor = program.start()?;
        consuming(&processor, workers).await?;
        Ok(processor)
    }

    pub(crate) async fn raw_publisher(&self) -> Result<RawPublisher> {
        RawPublisher::connect(&self.url).await
    }

    pub(crate) async fn foreign(&self) -> Result<Foreign> {
        Foreign::connect(&self.url).await
    }
}

/// Waits until `count` consumers of a program have subscribed, once each.
pub(crate) async fn consuming(program: &Running, count: usize) -> Result<()> {
    let mut seen = 0;
    let counted = |line: &str| {
        seen += usize::from(json_message(line, log_messages::CONSUMING).is_some());
        (seen == count).then_some(())
    };
    program.wait_for("all consumers", counted).await
}

/// A running web service and a client of it.
pub(crate) struct Web {
    pub(crate) program: Running,
    pub(crate) base: String,
    pub(crate) client: reqwest::Client,
}

impl Web {
    pub(crate) async fn start(program: Program) -> Result<Self> {
        Self::start_at(program, ANY_PORT).await
    }

    /// Starts it at this address, where clients may know it from before.
    pub(crate) async fn start_at(program: Program, address: &str) -> Result<Self> {
        let web = Self::listening(program, address).await?;
        web.program.wait_for_message(log_messages::CONSUMING).await?;
        web.ready().await?;
        Ok(web)
    }

    /// Starts it and does not wait for the broker.
    pub(crate) async fn start_without_broker(program: Program) -> Result<Self> {
        Self::listening(program, ANY_PORT).await
    }

    async fn listening(program: Program, address: &str) -> Result<Self> {
        let program = program.env("HTTP_ADDR", address).start()?;
        let listening = program.wait_for_message(log_messages::LISTENING).await?;
        let address = listening["address"].as_str().context("an address")?;
        let base = format!("http://{address}");
        let client = http::builder().timeout(WAIT_TIMEOUT).build()?;
        Ok(Self { program, base, client })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<reqwest::Response> {
        Ok(self.client.get(format!("{}{path}", self.base)).send().await?)
    }

    /// Asks again and again until the service says that it is ready.
    pub(crate) async fn ready(&self) -> Result<()> {
        let limit = Instant::now() + WAIT_TIMEOUT;
        loop {
            let answer = self.get("/health/ready").await?;
            if answer.status() == 200 {
                return Ok(());
            }
            let text = answer.text().await?;
            if Instant::now() > limit {
                return Err(self.program.error(&format!("is not ready in time: {text}")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks again and again until the service says that it can't publish, for this reason.
    pub(crate) async fn not_publishing(&self, reason: &str) -> Result<()> {
        self.not_ready("broker.publish", reason).await
    }

    /// Asks again and again until a part of the service is missing, for this reason.
    pub(crate) async fn not_ready(&self, part: &str, reason: &str) -> Result<()> {
        let limit = Instant::now() + WAIT_TIMEOUT;
        loop {
            let ready: Value = self.get("/health/ready").await?.json().await?;
            let part = &ready["parts"][part];
            if part["ok"] == false && part["detail"].to_string().contains(reason) {
                return Ok(());
            }
            ensure!(Instant::now() < limit, "no sign in time of {reason:?}: {ready}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn post_body(
        &self,
        body: impl Into<reqwest::Body>,
    ) -> Result<reqwest::Response> {
        let url = format!("{}/api/v1/processData", self.base);
        let post = self.client.post(url).header("content-type", "application/json");
        Ok(post.body(body).send().await?)
    }

    /// Posts data and gives the id of the accepted request.
    pub(crate) async fn accepted(&self, data: Value) -> Result<String> {
        self.accepted_json(&data.to_string()).await
    }

    /// Posts data that is JSON already.
    pub(crate) async fn accepted_json(&self, data: &str) -> Result<String> {
        let answer = self.post_body(format!("{{\"data\":{data}}}")).await?;
        let status = answer.status();
        let body: Value = answer.json().await?;
        ensure!(status == 202, "{status}: {body}");
        Ok(body["requestId"].as_str().context("a requestId")?.to_owned())
    }

    /// Waits for the log line of a request's result.
    pub(crate) async fn result(&self, id: &str) -> Result<Value> {
        let of_id = |line: &str| {
            json_message(line, log_messages::RESULT).filter(|result| result["requestId"] == *id)
        };
        self.program.wait_for(&format!("the result of {id}"), of_id).await
    }

    /// The ids whose results were logged so far.
    pub(crate) fn logged_results(&self) -> HashSet<String> {
        let id = |line: &String| {
            Some(json_message(line, log_messages::RESULT)?["requestId"].as_str()?.to_owned())
        };
        self.program.lines().iter().filter_map(id).collect()
    }

    /// Waits until every one of these requests has its result logged.
    pub(crate) async fn results(&self, ids: impl IntoIterator<Item = String>) -> Result<()> {
        let mut missing: HashSet<String> = ids.into_iter().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut lines = self.program.follow();
        let mut last = Instant::now();
        // Long queues take their time: what is bounded is the time without any progress.
        while let Ok(Some(line)) =
            tokio::time::timeout(WAIT_TIMEOUT.saturating_sub(last.elapsed()), lines.next()).await
        {
            let id = json_message(&line, log_messages::RESULT)
                .and_then(|result| Some(result["requestId"].as_str()?.to_owned()));
            if id.is_some_and(|id| missing.remove(&id)) {
                last = Instant::now();
            }
            if missing.is_empty() {
                return Ok(());
            }
        }
        let some: Vec<_> = missing.iter().take(3).collect();
        let what = format!("logged no result of {} requests, among them {some:?}", missing.len());
        Err(self.program.error(&what))
    }
}
