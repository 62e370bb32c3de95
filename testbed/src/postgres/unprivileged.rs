//! Runs programs that refuse to run as root, as PostgreSQL and PgBouncer do: as root they run as `nobody`.

use std::{fs, os::unix::fs::chown, path::Path};

use anyhow::{Context, Result};
use rustix::process::geteuid;
use tempfile::TempDir;

use crate::{
    process::{Start, minimal_env},
    workspace,
};

/// A program in this folder, which is removed with the program's owner.
pub(super) fn start(program: &Path, dir: &Path) -> Result<Start> {
    let mut start = Start::new(program, dir);
    if let Some((user, group)) = nobody() {
        start.program = workspace::on_path("setpriv")
            .context("root needs `setpriv` (util-linux) to run a database as another user")?;
        let user = [format!("--reuid={user}"), format!("--regid={group}")];
        start = start.args(user).args(["--clear-groups"]).args([program]);
    }
    start.remove_if_orphaned = Some(dir.to_owned());
    Ok(start.envs(minimal_env()))
}

/// A folder that belongs to the user who runs the program. The workspace may be out of reach for `nobody`, the system's
/// temporary folders are not. `/tmp` may be in memory, where syncs to disk take no time.
pub(super) fn folder(prefix: &str) -> Result<TempDir> {
    if nobody().is_none() {
        return workspace::temp_dir(prefix);
    }
    let prefix = format!("slowlane-{prefix}");
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix(&prefix);
    let on_disk = Path::new("/var/tmp");
    let dir = if on_disk.is_dir() { builder.tempdir_in(on_disk) } else { builder.tempdir() }?;
    own(dir.path())?;
    Ok(dir)
}

/// Gives a file or folder to the user who runs the program.
pub(super) fn own(path: &Path) -> Result<()> {
    let Some((user, group)) = nobody() else { return Ok(()) };
    chown(path, Some(user), Some(group)).with_context(|| format!("cannot give away {path:?}"))
}

/// Whom to run as when this process is root: `nobody`, by number.
fn nobody() -> Option<(u32, u32)> {
    if !geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let nobody = users.lines().find(|line| line.starts_with("nobody:")).and_then(|line| {
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    Some(nobody.unwrap_or((65534, 65534)))
}
