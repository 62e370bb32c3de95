//! Results and scheduled retries, as workers report them.

use crate::{
    Store,
    command::{Reply, Write},
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
        results: Vec<WorkerResult>,
    ) -> Result<Vec<Applied>, StoreError> {
        self.apply(results, |reply| reply).await
    }

    /// The same, and tells what became of the results as soon as they are committed: `tell` is called, in the thread
    /// that has committed them, before this returns. It must not block.
    ///
    /// # Errors
    /// As [`Self::apply_results`]. It may be called all the same, also after this has returned.
    pub async fn apply_results_then(
        &self,
        results: Vec<WorkerResult>,
        tell: impl FnOnce(&[Applied]) + Send + 'static,
    ) -> Result<Vec<Applied>, StoreError> {
        self.apply(results, |reply| reply.first(|applied: &Vec<_>| tell(applied))).await
    }

    async fn apply(
        &self,
        mut results: Vec<WorkerResult>,
        reply_to: impl FnOnce(Reply<Vec<Applied>>) -> Reply<Vec<Applied>>,
    ) -> Result<Vec<Applied>, StoreError> {
        results.iter_mut().for_each(sanitize::worker_result);
        let bytes = results.iter().filter_map(|row| row.outcome.result()).map(<[u8]>::len).sum();
        let apply = |reply| Write::ApplyResults(results, reply_to(reply));
        let applied = self.write_in_background(bytes, apply).await;
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
