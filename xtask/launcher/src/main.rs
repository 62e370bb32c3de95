//! What `cargo xtask` runs: builds `xtask` and the programs that a command starts, with cargo's progress, and runs it.
//!
//! All are built by one cargo, out of the workspace's default members. `cargo run --bin web-service` selects the same, so
//! libraries get the same features, and nothing is built twice.

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// The commands that start the programs, and no build of their own.
const START_PROGRAMS: [&str; 2] = ["demo", "dev"];

/// Variables in which `cargo run` describes this program: they would confuse the build.
const ABOUT_LAUNCHER: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("    error  {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns only if the build or the start fails.
fn run(arguments: &[OsString]) -> io::Result<ExitCode> {
    let xtask = path_of_xtask()?;
    if !xtask.exists() {
        println!(
            "    build  the programs and their libraries, once: this takes 2 to 5 minutes, and single"
        );
        println!(
            "           steps of it up to half a minute, in which cargo's progress stands still"
        );
    }
    let status = build(arguments.first().map(OsString::as_os_str)).status()?;
    if !status.success() {
        return Ok(ExitCode::FAILURE);
    }
    Err(without_variables(Command::new(xtask).args(arguments)).exec())
}

/// Cargo with the right arguments.
fn build(command: Option<&OsStr>) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg("build").current_dir(root());
    match START_PROGRAMS.iter().any(|name| command.is_some_and(|command| command == *name)) {
        true => cargo.arg("--bins"),
        false => cargo.args(["--bin", "xtask"]),
    };
    without_variables(&mut cargo);
    cargo
}

fn without_variables(command: &mut Command) -> &mut Command {
    let names = env::vars_os().map(|(name, _)| name);
    let about = names.filter(|name| {
        name.to_str().is_some_and(|name| ABOUT_LAUNCHER.iter().any(|start| name.starts_with(start)))
    });
    about.fold(command, |command, name| command.env_remove(name))
}

/// Cargo puts all programs into one folder.
fn path_of_xtask() -> io::Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name("xtask"))
}

/// The root of the workspace: of the checkout that this was built from.
fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own)
}
