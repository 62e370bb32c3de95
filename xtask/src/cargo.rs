//! Runs cargo as a child process that ends with this one, with a cleared environment and our standard output.

use std::{ffi::OsString, path::PathBuf, process::ExitStatus, time::Duration};

use anyhow::{Context, Result, bail};
use testbed::{process::Start, workspace};

use crate::environment;

/// Only a build or test run that hangs takes as long as this.
const CARGO_TIMEOUT: Duration = Duration::from_secs(3 * 60 * 60);

/// Runs cargo and returns how it ended.
pub(crate) async fn run(args: &[&str], env: &[(&str, OsString)]) -> Result<ExitStatus> {
    let mut start =
        Start::new(path()?, workspace::root()).args(args).envs(environment::for_cargo());
    start.capture = false;
    start.envs(env.iter().cloned()).spawn()?.wait_within(CARGO_TIMEOUT).await
}

/// Runs cargo to its end and gives what it printed.
pub(crate) async fn output(args: &[&str]) -> Result<Vec<String>> {
    let start = Start::new(path()?, workspace::root()).args(args).envs(environment::for_cargo());
    testbed::process::run(start, CARGO_TIMEOUT).await
}

/// Runs cargo and fails if it fails.
pub(crate) async fn build(args: &[&str]) -> Result<()> {
    build_with(args, &[]).await
}

/// Like [`build`], with additional environment variables.
pub(crate) async fn build_with(args: &[&str], env: &[(&str, OsString)]) -> Result<()> {
    let status = run(args, env).await?;
    if !status.success() {
        bail!("`cargo {}` failed: see above", args.join(" "));
    }
    Ok(())
}

fn path() -> Result<PathBuf> {
    let given = std::env::var_os("CARGO").map(PathBuf::from).filter(|path| path.is_file());
    given.or_else(|| workspace::on_path("cargo")).context("cargo is not on the PATH")
}
