//! File lock: keeps two web services from using the same SQLite file, whatever their brokers are.
//!
//! It is a lock of the operating system (`flock`) on the database file itself, so it ends with the process, and holds
//! for every path to the file. SQLite's own locks are of another kind, and programs such as `sqlite3` are not kept out.

use std::{
    fs::{File, OpenOptions, TryLockError, metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Mutex, PoisonError},
};

use tracing::warn;

/// The lock of a database file, once it is acquired.
#[derive(Debug, Default)]
pub(super) struct FileLock {
    /// The open file that has the lock, with its device and inode. It stays open: closing any descriptor of the file would
    /// end SQLite's own locks in this process.
    held: Mutex<Option<(File, (u64, u64))>>,
}

impl FileLock {
    /// Acquires the lock of the file at this path, unless it is held already. False if another process has it.
    ///
    /// # Errors
    /// If there is no such file, or it can't be opened.
    pub(super) fn acquire(&self, path: &Path, create: bool) -> io::Result<bool> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some((_, of)), Ok(now)) = (&*held, metadata(path))
            && *of == (now.dev(), now.ino())
        {
            return Ok(true);
        }
        let file =
            OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(false),
            // Some network file systems have no locks.
            Err(TryLockError::Error(error)) => {
                let file = path.display();
                warn!(%file, "can't be locked, so only one web service must use it: {error}");
            }
        }
        let of = file.metadata().map(|file| (file.dev(), file.ino()))?;
        *held = Some((file, of));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_user_at_a_time_by_whatever_path() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("a.db"), dir.path().join("link.db"));
        let [one, other] = [FileLock::default(), FileLock::default()];
        assert!(one.acquire(&path, false).is_err(), "there is none");
        assert!(one.acquire(&path, true).unwrap() && one.acquire(&path, false).unwrap());
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(!other.acquire(&path, true).unwrap() && !other.acquire(&link, true).unwrap());
        drop(one);
        assert!(other.acquire(&link, false).unwrap());
    }

    #[test]
    fn a_file_that_takes_the_place_of_another_is_locked_too() {
        let dir = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (dir.path().join("a.db"), dir.path().join("b.db"));
        let [one, other] = [FileLock::default(), FileLock::default()];
        assert!(one.acquire(&path, true).unwrap());
        std::fs::rename(&path, &elsewhere).unwrap();
        assert!(one.acquire(&path, true).unwrap());
        assert!(!other.acquire(&path, false).unwrap());
        assert!(other.acquire(&elsewhere, false).unwrap(), "nobody uses the old one any more");
    }
}
