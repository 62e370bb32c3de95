//! Release builds of the measured programs, and of this one, which makes the load.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Error, Result, anyhow};

use crate::{cargo, console};

const BUILD: &str = "build --release -p pipeline -p store -p setup -p web-service -p processor-service -p xtask --bins \
    --example fill --example echo --example bare";

/// Builds all programs into the target folder that this one is in.
pub(super) async fn build() -> Result<()> {
    let target = target()?;
    let target = target.to_str().context("the target folder's name is not text")?;
    let mut args: Vec<_> = BUILD.split_whitespace().chain(["--target-dir", target]).collect();
    if is_current() {
        // The debug build of this program has just built them.
        args.push("--quiet");
    } else {
        console::step("build", format!("cargo {BUILD}"));
    }
    cargo::build(&args).await
}

/// Whether this program is a release build.
pub(super) fn is_current() -> bool {
    !cfg!(debug_assertions)
}

/// Replaces this process by the release build, with the same arguments. Returns only if that fails.
pub(super) fn exec() -> Error {
    match path() {
        Ok(program) => {
            let error = Command::new(&program).args(std::env::args_os().skip(1)).exec();
            anyhow!(error).context(format!("cannot run {}", program.display()))
        }
        Err(error) => error,
    }
}

/// The release build of this program.
fn path() -> Result<PathBuf> {
    Ok(target()?.join("release/xtask"))
}

fn target() -> Result<PathBuf> {
    let this = std::env::current_exe().context("the running executable has no path")?;
    let target = this.parent().and_then(Path::parent);
    target.map(Path::to_owned).context("the running executable is in no target folder")
}
