//! `cargo xtask test`: builds everything, starts what the tests need, runs them, and prints how long each part took.

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use owo_colors::AnsiColors;
use testbed::{
    rabbitmq::{Node, Version},
    shared_node, workspace,
};

use crate::{
    api_fuzz, cargo, console,
    interrupt::{self, Interrupt},
    soak,
    system::broker::find_rabbitmq,
};

/// What the names of tests contain that take minutes: they run with `--all`, or when a filter names them.
const SLOW_MODULES: &str = "::slow::";
/// How many tests of a crate run at the same time.
const TEST_THREADS_VARIABLE: &str = "RUST_TEST_THREADS";

/// Options of the tests.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The RabbitMQ to test with: 3.10, 4.0, or `any`, which is the machine's own if it is 3.10 or later
    #[arg(long, value_name = "VERSION", default_value = "any", conflicts_with = "all")]
    rabbitmq: String,

    /// Test with every RabbitMQ there is a promise for, tests that take minutes, the API against its description, and a minute of `soak`; fails if
    /// something needed for that cannot be had
    #[arg(long)]
    all: bool,

    /// Test only the API against its description
    #[arg(long, conflicts_with_all = ["all", "rabbitmq", "filter"])]
    described: bool,

    /// Run only tests whose name contains one of these
    filter: Vec<String>,
}

/// The outcome of a part.
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

/// Runs the tests and prints a summary of all parts.
pub(crate) async fn run(options: &Options, interrupt: &mut Interrupt) -> Result<ExitCode> {
    let versions = match options {
        Options { described: true, .. } => vec![],
        Options { all: true, .. } => vec!["any", "4.0"],
        Options { rabbitmq, .. } => vec![rabbitmq.as_str()],
    };
    // An unknown version is reported before anything is built.
    for version in &versions {
        version.parse::<Version>()?;
    }
    let Some(parts) = interrupt.or(all_parts(options, &versions)).await else {
        return Ok(interrupt::stopped("test"));
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
    if !options.filter.is_empty() {
        ensure_some_match(&options.filter).await?;
    }
    for version in versions {
        parts.extend(on_version(options, version).await?);
    }
    if options.all || options.described {
        parts.push(fuzz_api().await?);
    }
    if options.all {
        parts.push(soak().await);
    }
    Ok(parts)
}

/// Builds the tests together with the programs that they start: with one set of features nothing is built twice.
async fn build() -> Result<Part> {
    console::step("build", "cargo build --workspace --bins --examples --tests");
    let start = Instant::now();
    cargo::build(&["build", "--workspace", "--bins", "--examples", "--tests"]).await?;
    Ok(Part { name: "build".into(), outcome: Outcome::Passed, time: start.elapsed() })
}

/// Fails if no test has such a name: a run of no tests would pass.
async fn ensure_some_match(filter: &[String]) -> Result<()> {
    let mut args = vec!["test", "--workspace", "--quiet", "--", "--list"];
    args.extend(filter.iter().map(String::as_str));
    let lines = cargo::output(&args).await?;
    if !lines.iter().any(|line| line.ends_with(": test")) {
        let names = filter.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
        bail!("no test's name contains {names}: `cargo xtask test` runs all of them");
    }
    Ok(())
}

/// Starts a private node of a version and runs the tests against it.
async fn on_version(options: &Options, version: &str) -> Result<Vec<Part>> {
    let start = Instant::now();
    let install = match find_rabbitmq(version.parse()?).await {
        Ok(install) => install,
        Err(error) if options.all => {
            let name = format!("tests on RabbitMQ {version}");
            let outcome = Outcome::NotRun(error);
            return Ok(vec![Part { name, outcome, time: start.elapsed() }]);
        }
        Err(error) => return Err(error),
    };
    let name = format!("RabbitMQ {}", install.version());
    let text = format!("starting a private node of {name}");
    let node = shared_node::start(&install);
    let node = console::while_waiting("rabbitmq", &text, node).await?;
    let (time, address) = (start.elapsed(), node.address());
    let ready_after = console::duration(time);
    console::step("rabbitmq", format!("{name} runs at {address} (made ready in {ready_after})"));
    let ready = Part { name: format!("{name} made ready"), outcome: Outcome::Passed, time };
    let tests = tests(options, version, &node, format!("tests on {name}")).await?;
    Ok(vec![ready, tests])
}

/// Tests the API against its description, if Python and schemathesis can be installed.
async fn fuzz_api() -> Result<Part> {
    let start = Instant::now();
    let outcome = match api_fuzz::find_or_install().await {
        Err(error) => Outcome::NotRun(error),
        Ok(program) => match api_fuzz::run(program, &find_rabbitmq(Version::Any).await?).await {
            Ok(()) => Outcome::Passed,
            Err(error) => {
                console::error(&error);
                Outcome::Failed
            }
        },
    };
    Ok(Part { name: "the API as described".into(), outcome, time: start.elapsed() })
}

/// Disturbs all programs at random for a minute.
async fn soak() -> Part {
    let start = Instant::now();
    let outcome = match soak::minute().await {
        Ok(true) => Outcome::Passed,
        Ok(false) => Outcome::Failed,
        Err(error) => {
            console::error(&error);
            Outcome::Failed
        }
    };
    Part { name: "a minute of soak".into(), outcome, time: start.elapsed() }
}

async fn tests(options: &Options, version: &str, node: &Node, name: String) -> Result<Part> {
    let start = Instant::now();
    let description = node.dir().join("access.json");
    write_access(node, &description)?;
    let mut args = vec!["test", "--workspace"];
    if options.all {
        // A failure on one version must not hide those on others.
        args.push("--no-fail-fast");
    }
    args.push("--");
    if !options.all && options.filter.is_empty() {
        args.extend(["--skip", SLOW_MODULES]);
    }
    args.extend(options.filter.iter().map(String::as_str));
    console::step("test", format!("cargo {}", args.join(" ").trim_end_matches(" --")));
    let env = [
        (shared_node::NODE_VARIABLE, description.into_os_string()),
        (shared_node::VERSION_VARIABLE, version.into()),
        // A backtrace is mostly lines of the test harness, and hides the message, which names the line of the test.
        ("RUST_BACKTRACE", "0".into()),
        ("RUST_LIB_BACKTRACE", "0".into()),
        (
            TEST_THREADS_VARIABLE,
            std::env::var_os(TEST_THREADS_VARIABLE).unwrap_or_else(|| threads().to_string().into()),
        ),
    ];
    let status = cargo::run(&args, &env).await?;
    let outcome = if status.success() { Outcome::Passed } else { Outcome::Failed };
    Ok(Part { name, outcome, time: start.elapsed() })
}

/// Twice as many threads as cores, since most tests wait for a broker.
fn threads() -> usize {
    2 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Writes the file that tells tests how to reach the node.
fn write_access(node: &Node, file: &Path) -> Result<()> {
    let text = serde_json::to_string(node.access())?;
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn summary(parts: &[Part]) {
    console::blank_line();
    for part in parts {
        let (colour, word) = match &part.outcome {
            Outcome::Passed => (AnsiColors::Green, "ok"),
            Outcome::Failed => (AnsiColors::Red, "failed"),
            Outcome::NotRun(_) => (AnsiColors::Yellow, "not run"),
        };
        console::line(
            word,
            colour,
            format!("{}  {}", part.name, console::dimmed(console::duration(part.time))),
        );
        if let Outcome::NotRun(reason) = &part.outcome {
            console::line("", colour, format!("{reason:#}"));
        }
    }
    let programs = workspace::state_dir().map(|dir| dir.display().to_string()).unwrap_or_default();
    console::step(
        "",
        console::dimmed(format!("nothing is left running; unpacked programs stay in {programs}")),
    );
}
