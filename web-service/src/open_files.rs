//! How many files this program may have open: every client that is connected, and waits, costs one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

/// Raises the limit as far as the system lets us, and says how far that is. Many systems begin with
/// 1024 for the sake of programs that are older than these.
pub fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => info!(open_files = text(maximum), "this many clients and files at most"),
        Err(error) => {
            warn!(open_files = text(current), "the limit of open files can't be raised: {error}");
        }
    }
}

fn text(limit: Option<u64>) -> String {
    limit.map_or("unlimited".to_owned(), |limit| limit.to_string())
}
