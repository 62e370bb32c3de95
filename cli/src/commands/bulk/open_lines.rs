//! What is known of the lines of a bulk run that have not ended.

use super::{retries::Retries, working::Working};
use crate::api::request::Request;

/// The lines that have not ended.
#[derive(Debug, Default)]
pub(super) struct OpenLines {
    /// Those that wait for their next attempts.
    pub(super) retries: Retries,
    /// Those whose work reports its progress.
    pub(super) working: Working,
}

impl OpenLines {
    /// Notes what is known of the request of a line.
    pub(super) fn note(&self, line: u64, request: &Request) {
        self.retries.note(line, request);
        self.working.note(line, request);
    }

    /// The line has ended.
    pub(super) fn remove(&self, line: u64) {
        self.retries.remove(line);
        self.working.remove(line);
    }
}
