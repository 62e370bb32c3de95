//! Watches files for changes, also those that an editor or a compiler replaces by new ones.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use notify_debouncer_mini::{
    DebounceEventResult, DebouncedEventKind, Debouncer, new_debouncer,
    notify::{RecommendedWatcher, RecursiveMode},
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A file has changed when nothing was written for this long: compilers and editors write in steps.
const QUIET_TIME: Duration = Duration::from_millis(200);

/// The changes of files.
pub(super) struct Changes {
    receiver: Option<UnboundedReceiver<PathBuf>>,
    /// Ends as it is dropped.
    _debouncer: Option<Debouncer<RecommendedWatcher>>,
}

impl Changes {
    /// No changes.
    pub(super) fn none() -> Self {
        Self { receiver: None, _debouncer: None }
    }

    /// The changes of these files from now on.
    pub(super) fn of(files: Vec<PathBuf>) -> Result<Self> {
        let (sender, receiver) = unbounded_channel();
        let folders: HashSet<_> = files.iter().filter_map(|file| file.parent()).collect();
        let folders: Vec<_> = folders.into_iter().map(Path::to_owned).collect();
        let mut files: Vec<_> = files.into_iter().map(WatchedFile::new).collect();
        let handler = move |events: DebounceEventResult| {
            if events.is_ok_and(|all| all.iter().any(|one| one.kind == DebouncedEventKind::Any)) {
                for file in files.iter_mut().filter_map(WatchedFile::changed) {
                    let _nobody_listens = sender.send(file);
                }
            }
        };
        let mut debouncer = new_debouncer(QUIET_TIME, handler).context("cannot watch files")?;
        // The folders, since a file that is replaced takes its watch with it.
        for folder in folders {
            let watched = debouncer.watcher().watch(&folder, RecursiveMode::NonRecursive);
            watched.with_context(|| format!("cannot watch {}", folder.display()))?;
        }
        Ok(Self { receiver: Some(receiver), _debouncer: Some(debouncer) })
    }

    /// Whether there are files whose changes are awaited.
    pub(super) fn are_watched(&self) -> bool {
        self.receiver.is_some()
    }

    /// Waits for the next change, and gives the file.
    pub(super) async fn next(&mut self) -> PathBuf {
        if let Some(receiver) = &mut self.receiver
            && let Some(file) = receiver.recv().await
        {
            return file;
        }
        std::future::pending().await
    }
}

/// A file as it was seen last. The watcher also reports that a file was only read.
struct WatchedFile {
    path: PathBuf,
    version: Option<Version>,
}

/// When the file was written, and its length.
type Version = (SystemTime, u64);

impl WatchedFile {
    fn new(path: PathBuf) -> Self {
        let version = version(&path);
        Self { path, version }
    }

    /// Its path, if it has changed. A file that is not there is about to be replaced.
    fn changed(&mut self) -> Option<PathBuf> {
        let now = version(&self.path)?;
        let before = self.version.replace(now);
        (before != Some(now)).then(|| self.path.clone())
    }
}

fn version(path: &Path) -> Option<Version> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for the change of this file.
    async fn seen(file: &Path, mut changes: Changes) -> Result<()> {
        let next = tokio::time::timeout(Duration::from_secs(60), changes.next());
        assert_eq!(next.await?, file);
        Ok(())
    }

    #[tokio::test]
    async fn a_file_that_is_written_or_replaced_has_changed() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("work.py");
        fs::write(&file, "1")?;
        let changes = Changes::of(vec![file.clone()])?;
        fs::write(&file, "one")?;
        seen(&file, changes).await?;

        let changes = Changes::of(vec![file.clone()])?;
        fs::write(folder.path().join("new"), "another")?;
        fs::rename(folder.path().join("new"), &file)?;
        seen(&file, changes).await
    }

    #[test]
    fn a_file_that_is_read_or_away_has_not_changed() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("work.py");
        fs::write(&path, "1")?;
        let mut file = WatchedFile::new(path.clone());
        fs::read(&path)?;
        assert_eq!(file.changed(), None);
        fs::remove_file(&path)?;
        assert_eq!(file.changed(), None);
        fs::write(&path, "longer")?;
        assert_eq!(file.changed(), Some(path));
        Ok(())
    }
}
