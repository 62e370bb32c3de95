//! Progress of a job: what the work reports, of which the latest counts.

use pipeline::contract::{Progress, ProgressReport};
use tokio::sync::watch;

/// The longest message, in bytes; the rest is cut off.
const MAX_MESSAGE_BYTES: usize = 500;

/// Reports the progress of one job. Clones report on the same job, from any task or thread.
///
/// Reporting costs next to nothing: only the latest report is kept, and at most four a second leave the worker. A job that
/// ends within 100 ms sends none.
#[derive(Debug, Clone, Default)]
pub struct Reporter {
    latest: watch::Sender<ProgressReport>,
}

impl Reporter {
    /// Reports how far the work is, from 0 to 1 or as `(done, total)`, with a message for people.
    pub fn progress(&self, progress: impl Into<Progress>, message: impl Into<String>) {
        let (progress, message) = (Some(progress.into()), Some(message.into()));
        self.report(ProgressReport { progress, message });
    }

    /// The latest report, to test a processor with.
    pub fn latest(&self) -> Option<(Option<Progress>, Option<String>)> {
        let ProgressReport { progress, message } = self.latest.borrow().clone();
        (progress.is_some() || message.is_some()).then_some((progress, message))
    }

    /// Takes a report that was read.
    pub(crate) fn report(&self, mut report: ProgressReport) {
        if let Some(message) = &mut report.message {
            message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
        }
        // An empty message is none.
        report.message = report.message.filter(|message| !message.is_empty());
        self.latest.send_replace(report);
    }

    /// Takes a report that is JSON. Returns whether it reports anything.
    pub(crate) fn report_json(&self, json: &[u8]) -> bool {
        ProgressReport::parse(json).map(|report| self.report(report)).is_some()
    }

    /// Tells of the reports that come from now on.
    pub(crate) fn reports(&self) -> watch::Receiver<ProgressReport> {
        self.latest.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_report_is_kept_with_a_message_that_is_not_too_long() {
        let reporter = Reporter::default();
        assert_eq!(reporter.latest(), None);
        reporter.progress(0.5, "half");
        reporter.clone().progress((3, 4), "ü".repeat(1000));
        let (progress, message) = reporter.latest().unwrap();
        assert_eq!(progress, Some(Progress::from((3, 4))));
        assert_eq!(message.unwrap().len(), MAX_MESSAGE_BYTES);
        reporter.progress(1.0, "");
        assert_eq!(reporter.latest(), Some((Some(Progress::from(1.0)), None)));
    }
}
