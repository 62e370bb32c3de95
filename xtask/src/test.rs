//! `cargo xtask test`: everything the tests need, the tests, and how long each part took.

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;
use owo_colors::AnsiColors;
use testbed::{
    rabbitmq::{Install, Node, Version},
    shared_node, workspace,
};

use crate::{
    cargo, fuzz, say,
    stop::{self, Stop},
};

/// How many tests run side by side, for whom that matters.
const THREADS: &str = "RUST_TEST_THREADS";

/// What to test.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The RabbitMQ to test with: 3.10, 4.0, or `any`, which is the machine's own if it is 3.10 or later
    #[arg(long, value_name = "VERSION", default_value = "any", conflicts_with = "all")]
    rabbitmq: String,

    /// Test with every RabbitMQ there is a promise for, and the API against its description; fails if something needed
    /// for that cannot be had
    #[arg(long)]
    all: bool,

    /// Test only the API against its description
    #[arg(long, conflicts_with_all = ["all", "rabbitmq", "filter"])]
    described: bool,

    /// Run only tests whose name contains one of these
    filter: Vec<String>,
}

/// How one part ended.
enum Outcome {
    Passed,
    Failed,
    NotRun(anyhow::Error),
}

struct Part {
    name: String,
    outcome: Outcome,
    time: Duration,
}

/// Runs the wanted tests and says at the end how each part went.
pub(crate) async fn run(options: &Options, stop: &mut Stop) -> Result<ExitCode> {
    let versions = match options {
        Options { described: true, .. } => vec![],
        Options { all: true, .. } => vec!["any", "4.0"],
        Options { rabbitmq, .. } => vec![rabbitmq.as_str()],
    };
    // A version that does not exist is found out before anything is built.
    for version in &versions {
        version.parse::<Version>()?;
    }
    let Some(parts) = stop.or(all_parts(options, &versions)).await else {
        say::gap();
        say::step("test", "stopped; nothing is left running");
        return Ok(stop::exit_code());
    };
    let parts = parts?;
    summary(&parts);
    Ok(if parts.iter().all(|part| matches!(part.outcome, Outcome::Passed)) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn all_parts(options: &Options, versions: &[&str]) -> Result<Vec<Part>> {
    let mut parts = vec![build().await?];
    for version in versions {
        parts.extend(on_version(options, version).await?);
    }
    if options.all || options.described {
        parts.push(fuzz().await?);
    }
    Ok(parts)
}

/// Builds the tests together with the programs they start: with one set of features nothing is built twice.
async fn build() -> Result<Part> {
    say::step("build", "cargo build --workspace --bins --examples --tests");
    let began = Instant::now();
    cargo::build(&["build", "--workspace", "--bins", "--examples", "--tests"]).await?;
    Ok(Part { name: "build".into(), outcome: Outcome::Passed, time: began.elapsed() })
}

async fn on_version(options: &Options, version: &str) -> Result<Vec<Part>> {
    let began = Instant::now();
    let install = match Install::find_or_unpack(version.parse()?, &|line| {
        say::step("rabbitmq", line)
    })
    .await
    {
        Ok(install) => install,
        Err(error) if options.all => {
            let name = format!("tests on RabbitMQ {version}");
            return Ok(vec![Part { name, outcome: Outcome::NotRun(error), time: began.elapsed() }]);
        }
        Err(error) => return Err(error),
    };
    let name = format!("RabbitMQ {}", install.version());
    let node = say::waiting(
        "rabbitmq",
        &format!("starting a private node of {name}"),
        shared_node::start(&install),
    )
    .await?;
    let ready = Part {
        name: format!("{name} made ready"),
        outcome: Outcome::Passed,
        time: began.elapsed(),
    };
    say::step(
        "rabbitmq",
        format!("{name} runs at {} (made ready in {})", node.address(), say::seconds(ready.time)),
    );
    let tests = tests(options, version, &node, format!("tests on {name}")).await?;
    Ok(vec![ready, tests])
}

/// The API against its own description, where Python can be had.
async fn fuzz() -> Result<Part> {
    let began = Instant::now();
    let outcome = match fuzz::find_or_install().await {
        Err(error) => Outcome::NotRun(error),
        Ok(program) => {
            let install =
                Install::find_or_unpack(Version::Any, &|line| say::step("rabbitmq", line));
            match fuzz::run(program, &install.await?).await {
                Ok(()) => Outcome::Passed,
                Err(error) => {
                    say::failure(&error);
                    Outcome::Failed
                }
            }
        }
    };
    Ok(Part { name: "the API as described".into(), outcome, time: began.elapsed() })
}

async fn tests(options: &Options, version: &str, node: &Node, name: String) -> Result<Part> {
    let began = Instant::now();
    let description = node.dir().join("access.json");
    describe(node, &description)?;
    let mut args = vec!["test", "--workspace"];
    if options.all {
        // The other versions and the summary are worth having even if this one fails.
        args.push("--no-fail-fast");
    }
    args.push("--");
    args.extend(options.filter.iter().map(String::as_str));
    say::step("test", format!("cargo {}", args.join(" ").trim_end_matches(" --")));
    let env = [
        (shared_node::NODE_VARIABLE, description.into_os_string()),
        (shared_node::VERSION_VARIABLE, version.into()),
        // An error says by itself where it comes from; fifty lines of the test harness would hide that.
        ("RUST_LIB_BACKTRACE", "0".into()),
        (THREADS, std::env::var_os(THREADS).unwrap_or_else(|| threads().to_string().into())),
    ];
    let status = cargo::run(&args, &env).await?;
    let outcome = if status.success() { Outcome::Passed } else { Outcome::Failed };
    Ok(Part { name, outcome, time: began.elapsed() })
}

/// More than there are cores, since most tests mostly wait for a broker.
fn threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    cores + cores.div_ceil(2)
}

/// Writes down how tests reach the node.
fn describe(node: &Node, file: &Path) -> Result<()> {
    let text = serde_json::to_string(node.access())?;
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn summary(parts: &[Part]) {
    say::gap();
    for part in parts {
        let (colour, word) = match &part.outcome {
            Outcome::Passed => (AnsiColors::Green, "ok"),
            Outcome::Failed => (AnsiColors::Red, "failed"),
            Outcome::NotRun(_) => (AnsiColors::Yellow, "not run"),
        };
        say::line(word, colour, format!("{}  {}", part.name, say::faint(say::seconds(part.time))));
        if let Outcome::NotRun(reason) = &part.outcome {
            say::line("", colour, format!("{reason:#}"));
        }
    }
    let programs = workspace::state_dir().map(|dir| dir.display().to_string()).unwrap_or_default();
    say::step(
        "",
        say::faint(format!("nothing is left running; unpacked programs stay in {programs}")),
    );
}
