//! Release builds: what is measured, and this very program, since it makes the load.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Error, Result, anyhow};

use crate::{cargo, say};

const BUILD: &str = "build --release -p pipeline -p setup -p web-service -p processor-service -p xtask --bins \
    --example fill --example echo --example bare";

/// Builds all that is needed, into the folder where this program is too.
pub(super) async fn build() -> Result<()> {
    let target = target()?;
    let target = target.to_str().context("the target folder's name is not text")?;
    let mut args: Vec<_> = BUILD.split_whitespace().chain(["--target-dir", target]).collect();
    if is_this() {
        // The debug build of this program has just done it.
        args.push("--quiet");
    } else {
        say::step("build", format!("cargo {BUILD}"));
    }
    cargo::build(&args).await
}

/// Whether this program was built for release.
pub(super) fn is_this() -> bool {
    !cfg!(debug_assertions)
}

/// Becomes the release build of this program, with the same arguments. Comes back only with an error.
pub(super) fn become_it() -> Error {
    match path() {
        Ok(program) => {
            let error = Command::new(&program).args(std::env::args_os().skip(1)).exec();
            anyhow!(error).context(format!("cannot run {}", program.display()))
        }
        Err(error) => error,
    }
}

/// Cargo puts release builds beside debug builds.
fn path() -> Result<PathBuf> {
    Ok(target()?.join("release/xtask"))
}

fn target() -> Result<PathBuf> {
    let this = std::env::current_exe().context("the running executable has no path")?;
    let target = this.parent().and_then(Path::parent);
    target.map(Path::to_owned).context("the running executable is in no target folder")
}
