//! Tests the API against its OpenAPI description: schemathesis generates valid and invalid calls from `/openapi.json`, and
//! compares every response with the description.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, bail};
use testbed::{
    process::{self, Process, Start},
    python,
    rabbitmq::Install,
    workspace,
};

use crate::{
    console, environment,
    system::{
        broker::Broker,
        launch::Launch,
        programs::{Programs, usual_or_any_address},
    },
};

/// The release that the options belong to.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
const OPTIONS: &[&str] = &[
    "run",
    "--no-color",
    // The same calls in each run, so that a failure can be reproduced.
    "--generation-deterministic",
    // A long poll may take a minute.
    "--request-timeout",
    "70",
    // Used idempotency keys are rejected though the call is valid, and cancelled requests can still be read.
    "--exclude-checks",
    "positive_data_acceptance,use_after_free",
    // schemathesis can't generate NDJSON.
    "--exclude-path",
    "/api/v1/processData/batch",
];
/// pip may need a proxy, but none leads back to this machine.
const NO_PROXY: [(&str, &str); 2] = [("NO_PROXY", "127.0.0.1"), ("no_proxy", "127.0.0.1")];
/// pip fetches some dozens of packages.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(10 * 60);
const RUN_TIMEOUT: Duration = Duration::from_secs(20 * 60);

/// The path of schemathesis, which pip installs under `.slowlane/` if it is missing.
pub(crate) async fn find_or_install() -> Result<PathBuf> {
    let venv = workspace::state_dir()?.join("tools").join(SCHEMATHESIS.replace("==", "-"));
    let program = venv.join("bin/schemathesis");
    python::virtual_environment(&venv).await?;
    if !works(&program).await {
        console::step("fuzz", format!("installing {SCHEMATHESIS} under .slowlane/tools (once)"));
        let install = ["install", "--quiet", SCHEMATHESIS].map(OsString::from);
        succeed(start(venv.join("bin/pip"), install), INSTALL_TIMEOUT).await?;
    }
    Ok(program)
}

/// Whether it begins to run: an installation that broke off leaves some of its files.
async fn works(program: &Path) -> bool {
    let version = Start::new(program, workspace::root()).args(["--version"]);
    process::run(version.envs(environment::for_cargo()), INSTALL_TIMEOUT).await.is_ok()
}

/// Starts the whole system on a private node and runs schemathesis against it.
pub(crate) async fn run(program: PathBuf, install: &Install) -> Result<()> {
    let broker = Broker::private(install, "fuzz").await?;
    let launch = Launch::on(&broker);
    let web = launch.program("web-service").env("HTTP_ADDR", usual_or_any_address());
    let worker = launch.program("processor-service").env("PROCESSING_DELAY", "1ms");
    let programs = Programs::start(&launch, web, vec![("worker", worker)]).await?;
    let description = format!("{}/openapi.json", programs.url());
    console::step("fuzz", format!("schemathesis run {description}"));
    let args = OPTIONS.iter().copied().chain([description.as_str()]);
    let start = start(program, args.map(OsString::from)).envs(NO_PROXY);
    let outcome = succeed(start, RUN_TIMEOUT).await;
    drop(programs);
    broker.stop().await;
    outcome
}

fn start(program: PathBuf, args: impl IntoIterator<Item = OsString>) -> Start {
    let dir = workspace::state_dir().unwrap_or_else(|_| workspace::root());
    let mut start = Start::new(program, dir).args(args).envs(environment::for_cargo());
    start.capture = false;
    start
}

async fn succeed(start: Start, timeout: Duration) -> Result<()> {
    let name = start.name.clone();
    let process: Process = start.spawn()?;
    let status = process.wait_within(timeout).await?;
    if !status.success() {
        bail!("{name} failed ({status}): see above");
    }
    Ok(())
}
