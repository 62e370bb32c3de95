//! Reaps orphans: processes that commands have left behind, once they end, where this program is the one that inherits them.
//!
//! The first process of a container (PID 1), and a subreaper, become the parent of every process whose parent has ended.
//! Such a process stays as a zombie until it is waited for, and takes a place in the table of processes.

use std::{
    collections::HashSet,
    fs, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, WaitId, WaitIdOptions, child_subreaper, getpid, waitid};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use tracing::debug;

/// The shortest pause between two searches for orphans.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);

/// The children of this process that somebody waits for: the reaper leaves them alone. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnChildren(Arc<Mutex<HashSet<u32>>>);

impl OwnChildren {
    /// Starts a child, which the reaper leaves alone from its first moment on. `id` gives its process id.
    pub(super) fn start<T>(
        &self,
        spawn: impl FnOnce() -> io::Result<T>,
        id: impl FnOnce(&T) -> Option<u32>,
    ) -> io::Result<T> {
        let mut children = self.lock();
        let child = spawn()?;
        children.extend(id(&child));
        Ok(child)
    }

    /// A child that nobody waits for any more.
    pub(super) fn forget(&self, id: u32) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reaps orphans for as long as it is polled. Does nothing where this process inherits none.
    pub(super) async fn reap_others(self) -> io::Result<()> {
        let is_subreaper = child_subreaper().is_ok_and(|is_one| is_one.is_some());
        if !getpid().is_init() && !is_subreaper {
            return Ok(());
        }
        let mut child_ended = signal(SignalKind::child())?;
        while child_ended.recv().await.is_some() {
            self.reap();
            // Signals that come meanwhile are one.
            sleep(SEARCH_INTERVAL).await;
        }
        Ok(())
    }

    fn reap(&self) {
        let own = self.lock();
        let parent = getpid().as_raw_nonzero().get();
        for zombie in zombies_of(parent) {
            let Some(pid) = Pid::from_raw(zombie) else { continue };
            if !zombie.try_into().is_ok_and(|id: u32| own.contains(&id)) {
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
                let reaped = waitid(WaitId::Pid(pid), options);
                debug!(pid = zombie, ?reaped, "reaped a process that a command has left behind");
            }
        }
    }
}

/// The ended children of a process that were not waited for.
fn zombies_of(parent: i32) -> Vec<i32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|id: &i32| {
        let stat = fs::read(Path::new("/proc").join(id.to_string()).join("stat"));
        stat.is_ok_and(|stat| is_zombie_of(&String::from_utf8_lossy(&stat), parent))
    })
    .collect()
}

/// Reads a process's `stat`: its id, its name in parentheses, its state, its parent. The name may hold anything.
fn is_zombie_of(stat: &str, parent: i32) -> bool {
    let Some((_, fields)) = stat.rsplit_once(')') else { return false };
    let mut fields = fields.split_whitespace();
    fields.next() == Some("Z") && fields.next().and_then(|id| id.parse().ok()) == Some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zombie_is_found_whatever_its_name() {
        assert!(is_zombie_of("12 (sleep) Z 7 12 12 0", 7));
        assert!(is_zombie_of("12 (a) S 9 (b) Z 7 12", 7));
        assert!(!is_zombie_of("12 (sleep) S 7 12 12 0", 7));
        assert!(!is_zombie_of("12 (a) Z 7) Z 8 12", 7));
        assert!(!is_zombie_of("", 7));
    }
}
