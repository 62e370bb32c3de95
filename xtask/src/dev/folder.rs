//! The folder that `dev` keeps its data in, for one `dev` at a time.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use testbed::workspace;

/// A folder that is locked until this is dropped.
pub(super) struct DataFolder {
    path: PathBuf,
    /// The folder in it that is used this time.
    current: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes and locks this folder, or the usual one. Fails if another `dev` uses it.
    pub(super) fn lock(path: Option<&Path>) -> Result<Self> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => workspace::state_dir()?.join("dev"),
        };
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let path = path.canonicalize()?;
        let lock = lock(&path)?;
        Ok(Self { current: path.clone(), path, _lock: lock })
    }

    /// Uses the folder of this name inside it from now on.
    pub(super) fn enter(&mut self, name: &str) -> Result<()> {
        self.current = self.path.join(name);
        fs::create_dir_all(&self.current)
            .with_context(|| format!("cannot make {}", self.current.display()))
    }

    /// The folder with all data.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of this name in the folder that is used.
    pub(super) fn inside(&self, name: &str) -> PathBuf {
        self.current.join(name)
    }
}

/// Takes the lock, and writes who has it.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = file.with_context(|| format!("cannot open {}", path.display()))?;
    if file.try_lock().is_err() {
        let mut pid = String::new();
        let _unknown = file.read_to_string(&mut pid);
        bail!(
            "another `cargo xtask dev` (pid {}) uses {}. Stop it with Ctrl-C, or give this one a folder with --data \
             and an address with HTTP_ADDR",
            pid.trim(),
            folder.display()
        );
    }
    file.set_len(0)?;
    write!(file, "{}", std::process::id())?;
    Ok(file)
}
