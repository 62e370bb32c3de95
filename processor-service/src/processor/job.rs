//! A job: one attempt at a request, as a processor gets it.

use std::time::{Duration, Instant, SystemTime};

use pipeline::{
    contract::{Progress, RequestId},
    topology::RequestType,
};
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use tokio_util::sync::CancellationToken;

use crate::processor::{error::ProcessError, progress::Reporter, progress_urls::ProgressUrls};

/// How long a job has that is made by [`Job::new`]: the default of `JOB_TIMEOUT`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(25 * 60);

/// One attempt at a request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Job<Input = Box<RawValue>> {
    /// The request's id: the same for every attempt and delivery, so it is the idempotency key of the work.
    pub id: RequestId,
    /// The type of the request, one of `TYPES`.
    pub request_type: RequestType,
    /// What the client sent as `data`.
    pub input: Input,
    /// Which attempt this is, from 1.
    pub attempt: i64,
    /// When `JOB_TIMEOUT` ends the job, to tell others. [`Job::time_left`] does not change with the clock.
    pub deadline: SystemTime,
    /// The trace that the request belongs to, as a W3C `traceparent`, to pass on with what the work calls.
    pub traceparent: Option<String>,
    /// Reports progress, also from other tasks; [`Job::progress`] does it here.
    pub reporter: Reporter,
    /// Gives the job a URL that takes its progress.
    pub(crate) progress_urls: ProgressUrls,
    /// When `JOB_TIMEOUT` ends the job, by a clock that nobody sets.
    pub(crate) ends_at: Instant,
    /// Cancelled when the job should end soon: its time is over, the request was cancelled, or the program stops.
    /// What the job returns after that does not count.
    pub stop: CancellationToken,
}

impl<Input> Job<Input> {
    /// A first attempt at a request of the type `default`, to test a processor with.
    ///
    /// # Panics
    /// If the id is longer than 200 bytes.
    pub fn new(id: &str, input: Input) -> Self {
        let id = to_raw_value(id).expect("a string has a JSON form");
        Self::first(RequestId::parse(&id).expect("a request's id is at most 200 bytes long"), input)
    }

    /// A first attempt at a request of the type `default`.
    pub(crate) fn first(id: RequestId, input: Input) -> Self {
        Self {
            id,
            request_type: RequestType::DEFAULT,
            input,
            attempt: 1,
            deadline: SystemTime::now() + DEFAULT_TIMEOUT,
            traceparent: None,
            reporter: Reporter::default(),
            progress_urls: ProgressUrls::default(),
            ends_at: Instant::now() + DEFAULT_TIMEOUT,
            stop: CancellationToken::new(),
        }
    }
}

impl<Input> Job<Input> {
    /// Reports how far the work is, from 0 to 1 or as `(done, total)`, with a message for people. It is shown with the
    /// request and to those who follow it.
    ///
    /// Only the latest report counts, so a loop may report as often as it likes: at most four a second leave the worker,
    /// and none of a job that ends within 100 ms.
    ///
    /// ```
    /// use processor_service::{Job, ProcessError, Processor};
    ///
    /// struct Scan;
    ///
    /// impl Processor for Scan {
    ///     type Input = u64;
    ///     type Output = u64;
    ///
    ///     async fn process(&self, job: Job<u64>) -> Result<u64, ProcessError> {
    ///         for page in 1..=job.input {
    ///             // The work on one page.
    ///             job.progress((page, job.input), format!("page {page}"));
    ///         }
    ///         job.progress(1.0, "done");
    ///         Ok(job.input)
    ///     }
    /// }
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let job = Job::new("scan-1", 10);
    /// let reporter = job.reporter.clone();
    /// assert_eq!(Scan.process(job).await.unwrap(), 10);
    /// assert_eq!(reporter.latest(), Some((Some(1.0.into()), Some("done".to_owned()))));
    /// # });
    /// ```
    pub fn progress(&self, progress: impl Into<Progress>, message: impl Into<String>) {
        self.reporter.progress(progress, message);
    }

    /// How much time the job has left until `JOB_TIMEOUT` ends it, also if the clock of [`Job::deadline`] is set meanwhile.
    pub fn time_left(&self) -> Duration {
        self.ends_at.saturating_duration_since(Instant::now())
    }
}

impl Job {
    /// The same job with its input read by serde.
    pub(crate) fn read_input<Input: DeserializeOwned>(self) -> Result<Job<Input>, ProcessError> {
        let mut json = serde_json::Deserializer::from_str(self.input.get());
        let input = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            ProcessError::permanent(format!("the data is not what this processor takes: {error}"))
        })?;
        Ok(Job {
            input,
            id: self.id,
            request_type: self.request_type,
            attempt: self.attempt,
            deadline: self.deadline,
            traceparent: self.traceparent,
            reporter: self.reporter,
            progress_urls: self.progress_urls,
            ends_at: self.ends_at,
            stop: self.stop,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::processor::error::Retry;

    fn read<Input: DeserializeOwned>(json: &str) -> Result<Input, ProcessError> {
        let input = RawValue::from_string(json.to_owned()).unwrap();
        Job::new("me", input).read_input().map(|job| job.input)
    }

    #[test]
    fn raw_input_passes_through_untouched() {
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        for json in [r#"{ "b":1e400,  "a":12345678901234567890.10, "a":"\u00fc" }"#, &deep] {
            assert_eq!(read::<Box<RawValue>>(json).unwrap().get(), json);
        }
    }

    #[test]
    fn a_jump_of_the_clock_changes_nothing_of_the_time_left() {
        let mut job = Job::new("me", ());
        for jumped in [SystemTime::UNIX_EPOCH, SystemTime::now() + 2 * DEFAULT_TIMEOUT] {
            job.deadline = jumped;
            let used = DEFAULT_TIMEOUT.checked_sub(job.time_left());
            assert!(used.is_some_and(|used| used < Duration::from_secs(60)), "{used:?}");
        }
    }

    #[test]
    fn input_of_the_wrong_type_is_a_permanent_failure_with_the_reason() {
        let error = read::<Vec<u32>>(r#"[1, "two"]"#).unwrap_err();
        assert_eq!((error.code.as_str(), error.retry), ("permanent", Retry::Never));
        assert!(error.message.contains("invalid type: string \"two\", expected u32"), "{error}");
    }

    #[test]
    fn the_place_that_does_not_fit_is_named() {
        type Orders = HashMap<String, Vec<(u8, f64)>>;
        let error = read::<Orders>(r#"{"ours": [[1, 2.5], [300, 1]]}"#).unwrap_err();
        assert!(
            error.message.contains("takes: ours[1][0]: invalid value: integer `300`, expected u8")
                && error.message.contains("line 1 column"),
            "{error}"
        );
    }

    #[test]
    fn raw_parts_of_typed_input_keep_their_digits() {
        let parts = read::<Vec<HashMap<String, Box<RawValue>>>>(r#"[{"a": 1e400, "b": [0.10]}]"#);
        let parts = parts.unwrap();
        assert_eq!((parts[0]["a"].get(), parts[0]["b"].get()), ("1e400", "[0.10]"));
    }
}
