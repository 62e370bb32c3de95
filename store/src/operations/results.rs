//! Results and scheduled retries, as workers report them.

use crate::{
    Store,
    command::Write,
    error::StoreError,
    model::{
        request::ScheduledRetry,
        sanitize,
        worker_result::{Applied, WorkerResult},
    },
};

impl Store {
    /// Applies results, and says what became of each. The first final result of a run wins; a result without a row
    /// makes its own. They share a transaction, unless that holds up others for too long.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: some may be stored all the same, and the same results can be applied again.
    pub async fn apply_results(
        &self,
        mut results: Vec<WorkerResult>,
    ) -> Result<Vec<Applied>, StoreError> {
        results.iter_mut().for_each(sanitize::worker_result);
        let bytes = results.iter().filter_map(|row| row.outcome.result()).map(<[u8]>::len).sum();
        let applied =
            self.write_in_background(bytes, |reply| Write::ApplyResults(results, reply)).await;
        self.callback_due.notify_one();
        applied
    }

    /// Records attempts that failed and will be repeated. Those that are older than what is stored, those
    /// of another run that is not noted, those of final requests and those of unknown ones change nothing. What the database refuses is logged and
    /// left out.
    ///
    /// # Errors
    /// As [`Self::apply_results`].
    pub async fn record_retries(&self, mut retries: Vec<ScheduledRetry>) -> Result<(), StoreError> {
        retries.iter_mut().for_each(sanitize::retry);
        self.write_in_background(0, |reply| Write::RecordRetries(retries, reply)).await
    }
}
