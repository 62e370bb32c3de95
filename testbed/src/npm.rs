//! Node.js and npm: where they are, and packages from the npm registry under `.slowlane/tools`.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    debian,
    process::{self, Start},
    workspace,
};

/// How long npm may take.
pub(crate) const INSTALL_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// `node` or `npm`, found on this machine.
///
/// # Errors
/// If it is missing.
pub fn tool(name: &str) -> Result<PathBuf> {
    workspace::on_path(name)
        .with_context(|| format!("{name} is missing: install Node.js 20 or later"))
}

/// Copies the scripts of `project` to the folder `tools/NAME` and installs the packages of its lock file there, unless
/// that was done before. `say` gets each step as a line for people.
///
/// # Errors
/// If npm or the npm registry is missing.
pub async fn installed(name: &str, project: &Path, say: &(dyn Fn(&str) + Sync)) -> Result<PathBuf> {
    let npm = tool("npm")?;
    let dir = workspace::state_dir()?.join("tools").join(name);
    fs::create_dir_all(&dir)?;
    let _lock = debian::lock(&dir.with_extension("lock"), name, say).await?;
    copy_scripts(project, &dir)?;
    let wanted = fs::read_to_string(project.join("package-lock.json"))?;
    let ready = dir.join("ready");
    if fs::read_to_string(&ready).is_ok_and(|installed| installed == wanted) {
        return Ok(dir);
    }
    forget(&ready)?;
    say(&format!("installing packages from npm into {}", dir.display()));
    // npm reads its registry and its proxy from the environment, too.
    let install = Start::new(npm, &dir).args(["ci", "--no-audit", "--no-fund"]);
    let install = install.envs(std::env::vars_os());
    process::run(install, INSTALL_TIMEOUT).await.context("npm can't install the packages")?;
    fs::write(ready, wanted)?;
    Ok(dir)
}

/// Removes the mark of a finished installation before the next one, which may break off.
pub(crate) fn forget(ready: &Path) -> Result<()> {
    match fs::remove_file(ready) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Copies all but the packages, which may have been installed in the project, too.
fn copy_scripts(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().context("a folder has no name")?;
        if name == "node_modules" {
            continue;
        }
        if path.is_dir() {
            copy_scripts(&path, &to.join(name))?;
        } else {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
