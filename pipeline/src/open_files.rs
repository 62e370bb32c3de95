//! Limit of open files (`RLIMIT_NOFILE`): raised at the start of a service, which needs files for each waiting client or each
//! job, and given back to the commands that it starts.

use std::sync::OnceLock;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, info, warn};

use crate::log_messages::OPEN_FILES_LIMIT;

/// The limit that this program was started with, if it has raised it.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit to the hard limit and logs it. The soft limit is often 1024, for the sake of old
/// programs that use `select`.
pub fn raise() {
    let before = getrlimit(Resource::Nofile);
    let Rlimit { current, maximum } = before;
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => {
            BEFORE.get_or_init(|| before);
            info!(open_files = text(maximum), "{OPEN_FILES_LIMIT}");
        }
        Err(error) => {
            warn!(open_files = text(current), "can't raise the limit of open files: {error}");
        }
    }
}

/// Gives a process that this program has started the soft limit from before [`raise`]: it may be one of the old programs.
pub fn give_back(child: Pid) {
    if let Some(before) = BEFORE.get()
        && let Err(error) = set(child, *before)
    {
        debug!("a child keeps the raised limit of open files: {error}");
    }
}

#[cfg(target_os = "linux")]
fn set(child: Pid, limit: Rlimit) -> rustix::io::Result<()> {
    rustix::process::prlimit(Some(child), Resource::Nofile, limit).map(drop)
}

#[cfg(not(target_os = "linux"))]
fn set(_: Pid, _: Rlimit) -> rustix::io::Result<()> {
    Err(rustix::io::Errno::NOSYS)
}

fn text(limit: Option<u64>) -> String {
    limit.map_or("unlimited".to_owned(), |limit| limit.to_string())
}
