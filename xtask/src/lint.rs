//! `cargo xtask lint`: checks format, clippy, documentation, and the licences and sources of dependencies.

use std::{ffi::OsString, process::ExitCode};

use anyhow::{Context, Result};
use testbed::workspace;

use crate::{cargo, console};

/// The release of cargo-deny that `deny.toml` is written for.
const CARGO_DENY: &str = "cargo-deny@0.20.2";

/// Runs the checks in turn; the first failure ends them.
pub(crate) async fn run() -> Result<ExitCode> {
    check("format", &["fmt", "--all", "--check"], &[]).await?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    check("clippy", &clippy, &[]).await?;
    let docs = ["doc", "--workspace", "--no-deps", "--document-private-items"];
    check("docs", &docs, &[("RUSTDOCFLAGS", "-D warnings".into())]).await?;
    let path = with_cargo_deny().await?;
    let deny = ["deny", "--log-level", "error", "check", "licenses", "bans", "sources"];
    check("deny", &deny, &[("PATH", path)]).await?;
    Ok(ExitCode::SUCCESS)
}

async fn check(name: &str, args: &[&str], env: &[(&str, OsString)]) -> Result<()> {
    console::step(name, format!("cargo {}", args.join(" ")));
    cargo::build_with(args, env).await
}

/// A `PATH` with cargo-deny on it, which is installed under `.slowlane/` if the machine has none.
async fn with_cargo_deny() -> Result<OsString> {
    let path = std::env::var_os("PATH").context("there is no PATH")?;
    if workspace::on_path("cargo-deny").is_some() {
        return Ok(path);
    }
    let tools = workspace::state_dir()?.join("tools");
    if !tools.join("bin/cargo-deny").is_file() {
        let root = tools.to_str().context("the workspace's path is not UTF-8")?;
        console::step("deny", "installing cargo-deny under .slowlane/tools (some minutes, once)");
        cargo::build(&["install", "--quiet", "--locked", CARGO_DENY, "--root", root]).await?;
    }
    let mut with = tools.join("bin").into_os_string();
    with.push(":");
    with.push(path);
    Ok(with)
}
