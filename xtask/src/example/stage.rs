//! The stage of an example: a private node, a folder, the programs, and the calls of a user.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use owo_colors::AnsiColors;
use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;
use testbed::{
    Process, Program,
    process::WAIT_TIMEOUT,
    program::Running,
    rabbitmq::{Node, NodeOptions, Version},
    workspace,
};

use crate::{console, system::broker::find_rabbitmq};

/// The colours of the programs on the console, in turn.
const COLOURS: [AnsiColors; 5] = [
    AnsiColors::Green,
    AnsiColors::Blue,
    AnsiColors::Magenta,
    AnsiColors::Yellow,
    AnsiColors::BrightCyan,
];

/// What an example runs on.
pub(crate) struct Stage {
    node: Node,
    folder: TempDir,
    client: reqwest::Client,
    programs: Vec<(&'static str, Running)>,
}

impl Stage {
    /// Starts the node.
    pub(crate) async fn new(name: &str, mut options: NodeOptions) -> Result<Self> {
        let parent = workspace::state_dir()?.join(name);
        options.parent = Some(parent.clone());
        let install = find_rabbitmq(Version::Any).await?;
        let text = format!("starting a private node of RabbitMQ {}", install.version());
        let node = Node::start(&install, options);
        let node = console::while_waiting("rabbitmq", &text, node).await?;
        console::step("rabbitmq", format!("runs at {}", node.address()));
        let client = testbed::http::builder().timeout(WAIT_TIMEOUT).build()?;
        let folder = workspace::temp_dir_in(&parent, "files-")?;
        Ok(Self { node, folder, client, programs: Vec::new() })
    }

    /// The private node.
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// A folder for the example's files, in which the programs run.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a program, shows its log with `label` in front, and waits until it logs `ready`, whose fields
    /// this gives.
    pub(crate) async fn start(
        &mut self,
        label: &'static str,
        program: Program,
        ready: &str,
    ) -> Result<Value> {
        let program = program.current_dir(self.folder.path()).env("LOG_FORMAT", "json").start()?;
        show_log(label, COLOURS[self.programs.len() % COLOURS.len()], &program);
        let fields = program.wait_for_message(ready).await?;
        self.programs.push((label, program));
        Ok(fields)
    }

    /// Waits until the program started with this label has logged `text` in so many lines.
    pub(crate) async fn logs(&self, label: &str, count: usize, text: &str) -> Result<()> {
        let found = self.programs.iter().find(|(name, _)| *name == label);
        let (_, program) = found.with_context(|| format!("{label} was not started"))?;
        let mut seen = 0;
        let counted = |line: &str| {
            seen += usize::from(line.contains(text));
            (seen == count).then_some(())
        };
        program.wait_for(&format!("{text} in {count} lines"), counted).await
    }

    /// Makes a call as a user would, shows it with its answer, and gives the answer's body. Fails unless the
    /// answer is a success.
    pub(crate) async fn call(
        &self,
        method: Method,
        url: &str,
        body: Option<(&str, String)>,
    ) -> Result<String> {
        let request = self.client.request(method.clone(), url);
        let request = match body {
            Some((content_type, text)) => request.header("content-type", content_type).body(text),
            None => request,
        };
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        console::line("you", AnsiColors::White, format!("{method} {url}  {status}  {text}"));
        ensure!(status.is_success(), "{method} {url} was answered with {status}: {text}");
        Ok(text)
    }

    /// Stops the programs, the last one first, and the node.
    pub(crate) async fn stop(mut self) -> Result<()> {
        console::blank_line();
        console::step("example", "stopping");
        while let Some((_, program)) = self.programs.pop() {
            program.terminate();
            program.succeed_within(WAIT_TIMEOUT).await?;
        }
        self.node.stop().await
    }
}

/// The base URL of a service that has logged where it listens.
pub(crate) fn base_url(listening: &Value) -> Result<String> {
    Ok(format!("http://{}", listening["address"].as_str().context("an address")?))
}

/// Shows the log lines of a program as they come.
fn show_log(label: &'static str, colour: AnsiColors, program: &Process) {
    let mut lines = program.follow();
    tokio::spawn(async move {
        while let Some(line) = lines.next().await {
            console::line(label, colour, readable(&line));
        }
    });
}

/// A JSON log line for people: the message, and the fields behind it.
fn readable(line: &str) -> String {
    let Ok(Value::Object(log)) = serde_json::from_str(line) else { return line.to_owned() };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let known = ["timestamp", "level", "target", "message", "span", "spans"];
    let fields = log.iter().filter(|(name, _)| !known.contains(&name.as_str()));
    let fields = fields.map(|(name, value)| format!("{name}={}", text(value)));
    let message = log.get("message").map(text).unwrap_or_default();
    format!("{message}  {}", console::dimmed(fields.collect::<Vec<_>>().join(" ")))
}
