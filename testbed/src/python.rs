//! Python's virtual environments.

use std::{fs, io::ErrorKind, path::Path, time::Duration};

use anyhow::{Context, Result};

use crate::{
    process::{self, Start},
    workspace,
};

/// How long it may take to make one. pip is unpacked into it.
const TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Makes a virtual environment in this folder, unless a whole one is there that was made in this place: its programs contain
/// their absolute path.
///
/// # Errors
/// If there is no `python3`, or it can't make one.
pub async fn virtual_environment(dir: &Path) -> Result<()> {
    let (ready, place) = (dir.join("ready"), dir.display().to_string());
    if fs::read_to_string(&ready).is_ok_and(|made| made == place) && runs(dir).await {
        return Ok(());
    }
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {place}"));
        }
        _ => {}
    }
    let python = workspace::on_path("python3").context("there is no python3")?;
    let make = Start::new(python, workspace::root()).args(["-m", "venv", &place]);
    let made = process::run(make.envs(std::env::vars_os()), TIMEOUT).await;
    made.context("python3 can't make a virtual environment (Debian: python3-venv)")?;
    Ok(fs::write(ready, place)?)
}

/// Whether its Python and its pip begin to run: the Python of the machine may have gone since.
async fn runs(dir: &Path) -> bool {
    let pip = Start::new(dir.join("bin/python3"), dir).args(["-m", "pip", "--version"]);
    process::run(pip.envs(std::env::vars_os()), TIMEOUT).await.is_ok()
}
