//! Workers of Slowlane: take one request at a time, process it, send its result, and only then ack the request.
//!
//! # A worker of your own
//!
//! A worker is one struct with one async method, and a `main` of one line:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use processor_service::{Job, ProcessError, Processor};
//!
//! struct Shout;
//!
//! impl Processor for Shout {
//!     type Input = String;
//!     type Output = String;
//!
//!     async fn process(&self, job: Job<String>) -> Result<String, ProcessError> {
//!         Ok(job.input.to_uppercase())
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     processor_service::main(Shout)
//! }
//! ```
//!
//! Its `Cargo.toml` needs this crate, and `serde` where input or output are types of its own:
//!
//! ```toml
//! [dependencies]
//! processor-service = { path = "../slowlane/processor-service" }
//! serde = { version = "1", features = ["derive"] }
//! ```
//!
//! - [`Processor`] is the work: its input and output are read and written by serde, or pass through as raw JSON.
//! - [`Processors`] are several in one program, each for a type of requests.
//! - [`Job`] is one attempt at a request: its input, its id, its type, its deadline, its trace. [`Job::progress`] reports how far it is,
//!   [`Job::stop`] says that it should end.
//! - [`ProcessError`] says whether a request is retried; `?` makes one out of any other error, and [`Context`] adds what
//!   was tried.
//! - [`main`] is the program: flags, `.env`, `--help`, exit codes, a clean stop. [`main_with`] builds the processor from a
//!   [`Start`], which has its own settings; [`Program`] has a name and a version, too.
//! - [`run`] is the same inside a program of your own, with a [`Config`] from a [`Source`], and a [`Shutdown`].
//! - [`processors`] are those that come with the program `processor-service`.
//!
//! # Slow work
//!
//! Work that takes minutes says how far it is, heeds its deadline, and ends early when it is told to:
//!
//! ```
//! use processor_service::{Job, ProcessError, Processor};
//!
//! struct Transcribe;
//!
//! impl Processor for Transcribe {
//!     type Input = Vec<String>;
//!     type Output = Vec<usize>;
//!
//!     async fn process(&self, job: Job<Vec<String>>) -> Result<Vec<usize>, ProcessError> {
//!         let pages = job.input.len() as u64;
//!         let mut words = Vec::new();
//!         for (done, page) in job.input.iter().enumerate() {
//!             if job.stop.is_cancelled() {
//!                 // What is returned from here on does not count.
//!                 return Err(ProcessError::transient("told to stop"));
//!             }
//!             job.progress((done as u64, pages), format!("{:?} left", job.time_left()));
//!             words.push(page.split_whitespace().count());
//!         }
//!         Ok(words)
//!     }
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let job = Job::new("pages-1", vec!["one two".to_owned(), "three".to_owned()]);
//! assert_eq!(Transcribe.process(job).await.unwrap(), [2, 1]);
//! # });
//! ```
//!
//! A panic ends only its job, and is a failure that may pass, unless the work panics with a [`ProcessError`]. While a service
//! that all jobs need is down, [`Processor::blocked`] may say so.
//!
//! To test a processor call [`Processor::process`] with a [`Job::new`]; nothing else is needed.

mod app;
mod config;
mod decisions;
mod health_listener;
mod metrics;
mod processor;
pub mod processors;
mod program;
mod worker;

pub use pipeline::{
    config::{ConfigError, Source},
    contract::{Progress, ProgressCount, RequestId},
    shutdown::Shutdown,
    topology::RequestType,
};
pub use serde_json::value::RawValue;
pub use tokio_util::sync::CancellationToken;

pub use self::{
    app::run,
    config::Config,
    processor::{
        Processor,
        by_type::Processors,
        context::Context,
        error::{ProcessError, Retry},
        job::Job,
        progress::Reporter,
    },
    program::{Program, chosen::main_of_chosen_processor, main, main_with, start::Start},
};

/// The guide's examples are compiled as tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/processors.md")]
struct Guide;
