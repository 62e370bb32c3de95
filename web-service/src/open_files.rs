//! Limit of open files (`RLIMIT_NOFILE`): raised at start, since each waiting client needs a file.

use pipeline::log_messages::OPEN_FILES_LIMIT;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

/// Raises the soft limit to the hard limit and logs it. The soft limit is often 1024, for the sake of old
/// programs that use `select`.
pub fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => info!(open_files = text(maximum), "{OPEN_FILES_LIMIT}"),
        Err(error) => {
            warn!(open_files = text(current), "can't raise the limit of open files: {error}");
        }
    }
}

fn text(limit: Option<u64>) -> String {
    limit.map_or("unlimited".to_owned(), |limit| limit.to_string())
}
