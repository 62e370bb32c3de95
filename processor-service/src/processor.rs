//! The trait that a worker implements: one request in, one result out.

pub(crate) mod by_type;
pub(crate) mod context;
pub(crate) mod conversions;
pub(crate) mod error;
pub(crate) mod job;
pub(crate) mod progress;
pub(crate) mod progress_urls;
pub(crate) mod raw;

use pipeline::topology::RequestType;
use serde::{Serialize, de::DeserializeOwned};

use self::{error::ProcessError, job::Job};

/// The work that is done for each request.
///
/// # Input and output
///
/// [`Processor::Input`] is what the client sent as `data`, read by serde; [`Processor::Output`] is written by serde
/// and becomes the request's `processingResults`. Data that does not fit into the input type fails its request
/// for good before `process` is called, with a message that says where: `items[1]: invalid type: string "x", expected f64
/// at line 1 column 17`. So does an output that has no JSON form.
///
/// ```
/// use processor_service::{Job, ProcessError, Processor};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)]
/// struct Order {
///     items: Vec<f64>,
/// }
///
/// #[derive(Serialize)]
/// struct Receipt {
///     total: f64,
/// }
///
/// struct AddUp;
///
/// impl Processor for AddUp {
///     type Input = Order;
///     type Output = Receipt;
///
///     async fn process(&self, job: Job<Order>) -> Result<Receipt, ProcessError> {
///         if job.input.items.is_empty() {
///             return Err(ProcessError::permanent("the order has no items"));
///         }
///         Ok(Receipt { total: job.input.items.iter().sum() })
///     }
/// }
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let job = Job::new("order-1", Order { items: vec![1.5, 2.0] });
/// assert_eq!(AddUp.process(job).await.unwrap().total, 3.5);
/// # });
/// ```
///
/// With [`Box<RawValue>`](crate::RawValue) as input or output the JSON text passes through untouched: numbers
/// keep all their digits, and objects the order of their keys.
///
/// ```
/// use processor_service::{Job, ProcessError, Processor, RawValue};
///
/// struct Echo;
///
/// impl Processor for Echo {
///     type Input = Box<RawValue>;
///     type Output = Box<RawValue>;
///
///     async fn process(&self, job: Job) -> Result<Box<RawValue>, ProcessError> {
///         Ok(job.input)
///     }
/// }
/// ```
///
/// # What the work may do
///
/// - It must be safe to repeat: after a crash or a lost connection the same request is delivered again. The
///   request's id ([`Job::id`]) is its idempotency key.
/// - It may panic: that ends nothing but the job, and is a failure that may pass, with the panic's message. A panic with a
///   [`ProcessError`], by [`std::panic::panic_any`], is that failure.
/// - It may block its thread, since jobs run on a runtime of their own with a thread for each worker. But a job that
///   blocks its thread cannot be dropped: if one has to end early, the program finishes its other jobs and ends with
///   exit code 1. Work that blocks for long belongs into `spawn_blocking`, or looks at [`Job::stop`] now and then.
pub trait Processor: Send + Sync + 'static {
    /// What the work reads from the request's `data`.
    type Input: DeserializeOwned + Send;

    /// What the work gives, which becomes the request's `processingResults`.
    type Output: Serialize;

    /// Processes one request.
    ///
    /// When the job has to end early, [`Job::stop`] is cancelled, and a second later the returned future is dropped.
    ///
    /// # Errors
    /// A [`ProcessError`] says whether the request is retried. `?` makes one out of any other error.
    fn process(
        &self,
        job: Job<Self::Input>,
    ) -> impl Future<Output = Result<Self::Output, ProcessError>> + Send;

    /// Why jobs can only wait at present, such as a service that they need and that is down. `/health/ready` says it, and
    /// the metric `slowlane_work_blocked` is 1. By default nothing blocks the work.
    fn blocked(&self) -> Option<String> {
        None
    }

    /// The types of requests that this processor does the work of; none if it takes all. A program whose `TYPES` names
    /// another one does not start. See [`Processors`](crate::Processors), which has a processor for each.
    fn types(&self) -> Option<Vec<RequestType>> {
        None
    }
}
