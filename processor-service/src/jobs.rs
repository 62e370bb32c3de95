//! Runs jobs, and ends those that are to end early.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use pipeline::contract::{ErrorBody, codes};

use crate::{Job, Processor, outcome::Outcome};

/// Why a job is to end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Nobody wants it any more.
    Cancelled,
    /// The program is stopping.
    Interrupted,
}

/// Where jobs run. Clones are the same place.
pub struct Jobs<P> {
    processor: Arc<P>,
}

impl<P> Clone for Jobs<P> {
    fn clone(&self) -> Self {
        Self { processor: self.processor.clone() }
    }
}

impl<P: Processor> Jobs<P> {
    /// A place for this kind of work.
    pub fn new(processor: P) -> Self {
        Self { processor: Arc::new(processor) }
    }

    /// Runs a job until it ends, or until `stop` tells why it should not go on. A panic in it ends the
    /// job, not the worker.
    pub async fn run(&self, job: Job, stop: impl Future<Output = Stop>) -> Outcome {
        let work = AssertUnwindSafe(async { self.processor.process(job).await }).catch_unwind();
        let stopped = tokio::select! {
            biased;
            ended = work => return match ended {
                Ok(Ok(results)) => Outcome::Done(results),
                Ok(Err(error)) => error.into(),
                Err(_) => Outcome::Failed(ErrorBody::new(
                    codes::PERMANENT,
                    "the processor panicked; its log says where",
                )),
            },
            stopped = stop => stopped,
        };
        match stopped {
            Stop::Cancelled => Outcome::Cancelled,
            Stop::Interrupted => Outcome::Interrupted,
        }
    }
}
