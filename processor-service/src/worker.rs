//! A worker: takes one request at a time from its consumer, processes it, and settles it.

mod accept;
mod admit;
pub(crate) mod claims;
pub(crate) mod control;
pub(crate) mod host_faults;
pub(crate) mod in_flight;
pub(crate) mod intake;
pub(crate) mod isolation;
pub(crate) mod job_runner;
mod job_span;
mod obsolete_runs;
mod outcome_log;
mod process;
mod redelivered;
pub(crate) mod settle;
mod turns;

use std::time::Duration;

use futures_util::future::BoxFuture;
use pipeline::{
    broker::BrokerStart,
    contract::{ErrorBody, Malformed, Request, codes},
    topology::RequestType,
};
use tokio_util::sync::CancellationToken;

use self::{
    claims::Claims,
    host_faults::HostFaults,
    in_flight::InFlight,
    intake::{Turn, Waited},
    isolation::Isolation,
    job_runner::JobRunner,
    settle::Settler,
};
use crate::{
    decisions::policy::Policy,
    metrics::Metrics,
    processor::{Processor, progress_urls::ProgressUrls},
};

/// A worker. It processes one request at a time.
pub(crate) struct Worker<P> {
    /// Its number among the workers of this process, from 1.
    pub(crate) slot: usize,
    /// `host:pid/slot`, as results and logs name it.
    pub(crate) name: String,
    /// The type of the requests that it takes.
    pub(crate) request_type: RequestType,
    /// Runs the jobs.
    pub(crate) job_runner: JobRunner<P>,
    /// Which workers of this process may work.
    pub(crate) isolation: Isolation,
    /// Settles the deliveries.
    pub(crate) settler: Settler,
    /// The requests in flight in this process.
    pub(crate) in_flight: InFlight,
    /// What was delivered to this process, and what the others had.
    pub(crate) claims: Claims,
    /// The failures of this host to begin work.
    pub(crate) host_faults: HostFaults,
    /// Tells which start of the broker this is.
    pub(crate) broker_start: BrokerStart,
    /// The URLs that take the progress of jobs.
    pub(crate) progress_urls: ProgressUrls,
    /// Where deliveries and jobs are counted.
    pub(crate) metrics: Metrics,
    /// The limits that decisions go by.
    pub(crate) policy: Policy,
    /// How long a request may wait here to run isolated.
    pub(crate) isolation_timeout: Duration,
    /// Cancelled when no new job is to start.
    pub(crate) drain: CancellationToken,
    /// Cancelled when requests in flight are to be handed back.
    pub(crate) give_up: CancellationToken,
}

/// What became of a delivery in its turn.
#[derive(Default)]
struct Handled<'a> {
    /// How long its job took, if it had one.
    took: Option<Duration>,
    /// What is left to do.
    rest: Option<BoxFuture<'a, ()>>,
}

impl<P: Processor> Worker<P> {
    /// Handles one delivery, whatever it is. If the worker consumes ahead, its result need not be confirmed at the end.
    async fn handle(&self, turn: Turn, is_ahead: bool) -> Handled<'_> {
        let delivery = match turn {
            Turn::Waited(Waited { request, in_flight, delivery }) => {
                return self.admit(request, Some(in_flight), is_ahead, delivery).await;
            }
            Turn::New(delivery) => delivery,
        };
        let request = match Request::parse(&delivery.body) {
            Ok(request) => request,
            Err(Malformed { reason, id }) => {
                let error = ErrorBody::new(codes::MALFORMED, reason);
                self.settler.reject(id.as_ref(), error, delivery).await;
                return Handled::default();
            }
        };
        match self.not_mine(&request.id, delivery).await {
            Some(delivery) => self.admit(request, None, is_ahead, delivery).await,
            None => Handled::default(),
        }
    }
}
