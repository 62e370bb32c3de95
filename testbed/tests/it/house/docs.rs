//! The documents: their commands work, their links lead somewhere, and the recipes are documented.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use pipeline::{
    contract::{Outcome, Request, ResultMessage},
    topology,
};
use serde_json::Value;
use testbed::{
    process::{self, Start, WAIT_TIMEOUT},
    program::Running,
    shared_node, workspace,
};

use crate::support::{
    documents::commands,
    stack::{Stack, Web},
};

/// How the documents run the command line.
const SLOWLANE: &str = "cargo run --bin slowlane --";

/// What the README makes a thumbnail of.
const PICTURE: &str = "photo.jpg";
const THUMBNAIL: &str = "thumbnail.png";

/// A reader's terminals: what is typed there runs against a virtual host of its own.
struct Terminals {
    stack: Stack,
    web: Option<Web>,
    processor: Option<Running>,
    /// Where the reader is.
    folder: tempfile::TempDir,
    /// The id that the last answer had: what the reader puts in place of `REQUEST_ID`.
    id: String,
}

impl Terminals {
    async fn open() -> Result<Self> {
        let stack = Stack { url: shared_node::vhost().await.url };
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join(PICTURE), PICTURE.repeat(100))?;
        Ok(Self { stack, web: None, processor: None, folder, id: String::new() })
    }

    async fn run(&mut self, command: &str) -> Result<()> {
        let words: Vec<&str> = command.split(' ').collect();
        match words[..] {
            ["cargo", "run", "--bin", program] => self.start(program).await,
            ["cargo", "xtask", "dev", "--command", ..] => self.dev_with_command().await,
            ["cargo", "build", "--release", "--locked", ref programs @ ..] => builds(programs),
            ["cargo", "xtask", task, ..] => exists("xtask", &[task, "--help"]).await,
            ["seq", ..] => self.shell(command).await.map(drop),
            _ if command.contains(SLOWLANE) => self.slowlane(command).await,
            ["curl" | "printf", ..] => self.curl(command).await,
            _ => bail!("nothing here knows how to run it"),
        }
    }

    async fn start(&mut self, program: &str) -> Result<()> {
        match program {
            "setup" => drop(self.stack.setup().start()?.succeed_within(WAIT_TIMEOUT).await?),
            "web-service" => {
                // The one before has the lock of SQLite.
                self.web = None;
                self.web = Some(self.stack.web().await?);
            }
            "processor-service" => self.processor = Some(self.stack.processor(1, "1ms").await?),
            _ => bail!("there is no program {program}"),
        }
        Ok(())
    }

    /// What `cargo xtask dev` starts. The command returns the data, since the libraries of the documented one may not be
    /// installed.
    async fn dev_with_command(&mut self) -> Result<()> {
        self.start("web-service").await?;
        let command = self.stack.program("processor-service").env("PROCESSOR", "command");
        let command = command.env("PROCESSOR_COMMAND", "cat");
        self.processor = Some(self.stack.start_processor(command, 1, "1ms").await?);
        Ok(())
    }

    fn web(&self) -> Result<&Web> {
        self.web.as_ref().context("no web service was started before")
    }

    /// Runs the line in a shell, against the web service that was started before, and gives what it
    /// says.
    async fn shell(&self, line: &str) -> Result<Vec<String>> {
        let base = self.web()?.base.as_str();
        let line = line.replace("http://127.0.0.1:3000", base).replace("REQUEST_ID", &self.id);
        let shell = Start::new("/bin/sh", self.folder.path()).args(["-c", &line]);
        let shell = shell.envs(process::minimal_env()).envs([("SLOWLANE_URL", base)]);
        process::run(shell, WAIT_TIMEOUT).await
    }

    async fn slowlane(&mut self, command: &str) -> Result<()> {
        let program = workspace::binary("slowlane")?.display().to_string();
        let lines = self.shell(&command.replace(SLOWLANE, &program)).await?;
        if let Some(id) = lines.iter().find(|line| uuid::Uuid::try_parse(line).is_ok()) {
            self.web()?.result(id).await?;
            self.id.clone_from(id);
        }
        if command.ends_with(THUMBNAIL) {
            let thumbnail = fs::read(self.folder.path().join(THUMBNAIL))?;
            ensure!(thumbnail == PICTURE.repeat(100).as_bytes(), "{thumbnail:?} came back");
        }
        Ok(())
    }

    async fn curl(&mut self, command: &str) -> Result<()> {
        let lines = self.shell(command).await?;
        // The progress of the transfer may stand before it.
        let good = |line: &String| line.contains("HTTP/1.1 20");
        ensure!(lines.iter().any(good), "{lines:?}");
        let bodies = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(id) =
            bodies.filter_map(|body| Some(body["requestId"].as_str()?.to_owned())).next_back()
        {
            self.web()?.result(&id).await?;
            self.id = id;
        }
        Ok(())
    }
}

/// Whether the workspace has these programs, as `--bin NAME` each. A release build would take too long.
fn builds(programs: &[&str]) -> Result<()> {
    for pair in programs.chunks(2) {
        let ["--bin", program] = pair else { bail!("{pair:?} is no program") };
        workspace::binary(program)?;
    }
    Ok(())
}

async fn exists(program: &str, args: &[&str]) -> Result<()> {
    let start = Start::new(workspace::binary(program)?, workspace::root()).args(args);
    process::run(start, WAIT_TIMEOUT).await.map(drop)
}

#[tokio::test]
async fn every_command_in_the_documents_works() -> Result<()> {
    for document in [
        "README.md",
        "CONTRIBUTING.md",
        "docs/api.md",
        "docs/cli.md",
        "docs/operating.md",
        "docs/performance.md",
    ] {
        let mut terminals = Terminals::open().await?;
        if ["docs/api.md", "docs/cli.md"].contains(&document) {
            terminals.start("web-service").await?;
            terminals.start("processor-service").await?;
        }
        let commands = commands(document)?;
        ensure!(!commands.is_empty(), "{document} has no commands");
        for command in commands {
            terminals.run(&command).await.with_context(|| format!("{document}: {command}"))?;
        }
    }
    Ok(())
}

#[test]
fn every_recipe_runs_a_command_of_the_documents() -> Result<()> {
    let justfile = fs::read_to_string(workspace::root().join("justfile"))?;
    let documented = [commands("README.md")?, commands("CONTRIBUTING.md")?].concat();
    for recipe in justfile.lines().filter_map(|line| line.strip_prefix("    ")) {
        let command = recipe.trim_start_matches("exec ");
        let command = command.trim_end_matches(" {{args}}").trim_end_matches(" --");
        let known = command.starts_with("@just") || documented.iter().any(|line| line == command);
        ensure!(known, "neither README.md nor CONTRIBUTING.md tells of `{command}`");
    }
    for recipe in ["setup", "web", "processor", "demo", "test", "lint"] {
        let found = justfile
            .lines()
            .any(|line| line.starts_with(&format!("{recipe} ")) || line == format!("{recipe}:"));
        ensure!(found, "there is no recipe {recipe}");
    }
    Ok(())
}

/// The description is for tools; its names and examples are those of the code.
#[test]
fn the_asyncapi_description_has_the_names_and_messages_of_the_contract() -> Result<()> {
    let text = fs::read_to_string(workspace::root().join("docs/asyncapi.yaml"))?;
    let api: Value = serde_saphyr::from_str(&text)?;
    ensure!(api["asyncapi"] == "3.0.0" && api["info"]["version"] == env!("CARGO_PKG_VERSION"));
    let address = |channel: &str| api["channels"][channel]["address"].clone();
    ensure!(address("requests") == topology::REQUESTS);
    ensure!(
        address("results") == topology::KEY_RESULT && address("failed") == topology::KEY_FAILED
    );
    for channel in ["results", "failed"] {
        let exchange = &api["channels"][channel]["bindings"]["amqp"]["exchange"]["name"];
        ensure!(exchange == topology::EXCHANGE, "{channel} is of {exchange}");
    }
    let example = |message: &str| {
        api["components"]["messages"][message]["examples"][0]["payload"].to_string().into_bytes()
    };
    for message in ["result", "error"] {
        let parsed =
            ResultMessage::parse(&example(message)).map_err(|wrong| anyhow!(wrong.reason))?;
        ensure!(matches!(parsed.outcome, Outcome::Completed(_)) == (message == "result"));
    }
    Request::parse(&example("request")).map_err(|wrong| anyhow!(wrong.reason))?;
    for reference in text.split("$ref: '#/").skip(1).filter_map(|rest| rest.split('\'').next()) {
        ensure!(api.pointer(&format!("/{reference}")).is_some(), "there is no {reference}");
    }
    Ok(())
}

#[test]
fn every_link_in_the_documents_leads_somewhere() -> Result<()> {
    let root = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"]
        .map(|name| workspace::root().join(name));
    let docs = fs::read_dir(workspace::root().join("docs"))?.map(|entry| Ok(entry?.path()));
    let examples = fs::read_dir(workspace::root().join("examples"))?;
    let examples = examples.map(|entry| Ok(entry?.path().join("README.md")));
    let others = docs.chain(examples).collect::<Result<Vec<_>>>()?;
    let is_text = |path: &PathBuf| path.extension().is_some_and(|it| it == "md") && path.exists();
    for file in root.into_iter().chain(others.into_iter().filter(is_text)) {
        let text = fs::read_to_string(&file)?;
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let outside = target.starts_with("https://");
            let path = target.split('#').next().unwrap_or_default();
            let exists = outside || file.with_file_name(path).exists();
            ensure!(exists, "{} links to {target}", file.display());
        }
    }
    Ok(())
}
