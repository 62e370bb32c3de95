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
//! - [`Job`] is one attempt at a request: its input, its id, its deadline.
//! - [`ProcessError`] says whether a request is retried; `?` makes one out of any other error, and [`Context`] adds what
//!   was tried.
//! - [`main`] is the program: flags, `.env`, `--help`, exit codes, a clean stop. [`main_with`] builds the processor from a
//!   [`Start`], which has its own settings; [`Program`] has a name and a version, too.
//! - [`run`] is the same inside a program of your own, with a [`Config`] from a [`Source`], and a [`Shutdown`].
//! - [`processors`] are those that come with the program `processor-service`.
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
    contract::RequestId,
    shutdown::Shutdown,
};
pub use serde_json::value::RawValue;
pub use tokio_util::sync::CancellationToken;

pub use self::{
    app::run,
    config::Config,
    processor::{
        Processor,
        context::Context,
        error::{ProcessError, Retry},
        job::Job,
    },
    program::{Program, chosen::main_of_chosen_processor, main, main_with, start::Start},
};

/// The guide's examples are compiled as tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/processors.md")]
struct Guide;
