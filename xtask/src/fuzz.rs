//! The API against its own description: schemathesis makes calls up from `/openapi.json`, good and bad ones, and compares
//! every answer with what the description promises.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use testbed::{
    process::{Process, Start},
    rabbitmq::Install,
    workspace,
};

use crate::{
    demo::{Broker, Cast},
    environment, say,
};

/// The release whose options are used here.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
/// What it is told.
const OPTIONS: &[&str] = &[
    "run",
    "--no-color",
    // The same calls each time, so that what fails once fails again.
    "--generation-deterministic",
    // A call may wait for a minute.
    "--request-timeout",
    "70",
    // A key that was used before is refused, however well-formed; what was cancelled can be looked at.
    "--exclude-checks",
    "positive_data_acceptance,use_after_free",
    // It can't write lines of JSON.
    "--exclude-path",
    "/api/v1/processData/batch",
];
/// How long pip may take: it fetches some dozens of packages.
const INSTALL_WITHIN: Duration = Duration::from_secs(10 * 60);
/// How long all the calls may take.
const RUN_WITHIN: Duration = Duration::from_secs(20 * 60);

/// The program, installed beside the project by pip if it isn't there.
pub(crate) async fn find_or_install() -> Result<PathBuf> {
    let venv = workspace::state_dir()?.join("tools").join(SCHEMATHESIS.replace("==", "-"));
    let program = venv.join("bin/schemathesis");
    if !program.is_file() {
        say::step("fuzz", format!("installing {SCHEMATHESIS} under .slowlane/tools (once)"));
        let python = workspace::on_path("python3").context("there is no python3")?;
        let at = venv.clone().into_os_string();
        succeed(start(python, ["-m".into(), "venv".into(), at]), INSTALL_WITHIN).await?;
        let install = ["install", "--quiet", SCHEMATHESIS].map(OsString::from);
        succeed(start(venv.join("bin/pip"), install), INSTALL_WITHIN).await?;
    }
    Ok(program)
}

/// Starts the whole system on a private node, and lets the calls loose on it.
pub(crate) async fn run(program: PathBuf, install: &Install) -> Result<()> {
    let broker = Broker::private(install, "fuzz").await?;
    let cast = Cast::start(&broker, "1ms").await?;
    let description = format!("{}/openapi.json", cast.url());
    say::step("fuzz", format!("schemathesis run {description}"));
    let args = OPTIONS.iter().copied().chain([description.as_str()]);
    let outcome = succeed(start(program, args.map(OsString::from)), RUN_WITHIN).await;
    drop(cast);
    broker.stop().await;
    outcome
}

fn start(program: PathBuf, args: impl IntoIterator<Item = OsString>) -> Start {
    let dir = workspace::state_dir().unwrap_or_else(|_| workspace::root());
    let mut start = Start::new(program, dir).args(args).envs(environment::for_cargo());
    start.capture = false;
    start
}

async fn succeed(start: Start, within: Duration) -> Result<()> {
    let name = start.name.clone();
    let process: Process = start.spawn()?;
    let status = process.wait_within(within).await?;
    if !status.success() {
        bail!("{name} failed ({status}): see above");
    }
    Ok(())
}
