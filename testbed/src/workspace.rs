//! Paths: the workspace, its git-ignored state, and the programs that cargo built.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The root of the workspace this library was built from.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// The git-ignored folder for everything that tests and the demo write. It is made when it is missing.
pub fn state_dir() -> Result<PathBuf> {
    made(root().join(".slowlane"))
}

/// A new temporary folder inside [`state_dir`], removed when the guard is dropped.
pub fn temp_dir(prefix: &str) -> Result<tempfile::TempDir> {
    temp_dir_in(&state_dir()?.join("tmp"), prefix)
}

/// A new temporary folder inside `parent`, which is made when it is missing.
pub fn temp_dir_in(parent: &Path, prefix: &str) -> Result<tempfile::TempDir> {
    let parent = made(parent.to_owned())?;
    let dir = tempfile::Builder::new().prefix(prefix).tempdir_in(&parent);
    dir.with_context(|| format!("cannot make a folder in {}", parent.display()))
}

/// The path of one of the workspace's own programs, built beside the executable that asks.
///
/// Looking beside the running executable, and not in `target/debug`, keeps a release build together with release
/// programs and honours `CARGO_TARGET_DIR`.
pub fn binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("the running executable has no path")?;
    let mut dir = own.parent().context("the running executable is in no folder")?;
    if dir.ends_with("deps") || dir.ends_with("examples") {
        dir = dir.parent().unwrap_or(dir);
    }
    let path = dir.join(name);
    if !path.is_file() {
        bail!(
            "{} is not built yet; type `cargo build --workspace --bins --examples`",
            path.display()
        );
    }
    Ok(path)
}

/// The first program called `name` on this process's `PATH`.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn made(dir: PathBuf) -> Result<PathBuf> {
    std::fs::create_dir_all(&dir)
        .with_context(|| format!("cannot make the folder {}", dir.display()))?;
    Ok(dir)
}
