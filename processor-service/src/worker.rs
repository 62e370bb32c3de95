//! A worker: takes one request at a time from its consumer, processes it, and settles it.

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
pub(crate) mod settle;
mod turns;

use std::time::{Duration, SystemTime};

use futures_util::{FutureExt, future::BoxFuture};
use pipeline::{
    broker::{BrokerStart, Delivery},
    contract::{
        ErrorBody, Execution, JobEvent, JobEventName, Malformed, Request, RequestId, codes,
    },
    log_messages::{
        ADOPTED, ASKED, ASKING, CANCELLED_BEFORE_START, STARTED, WAITING_FOR_ISOLATION,
    },
    spans::Span,
    topology::RequestType,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, info_span, warn};

use self::{
    claims::Claims,
    host_faults::HostFaults,
    in_flight::{Adoption, InFlight, InFlightGuard},
    intake::{Turn, Waited},
    isolation::{Isolation, WorkPermit},
    job_runner::{JobRunner, StopReason},
    outcome_log::log_outcome,
    settle::Settler,
};
use crate::{
    decisions::{
        admission::{self, Admission},
        incoming::IncomingRequest,
        outcome::{JobOutcome, WorkRecord},
        policy::Policy,
    },
    metrics::Metrics,
    processor::{Processor, job::Job, progress::Reporter, progress_urls::ProgressUrls},
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

/// How the wait for the start of a job ended.
enum Start {
    Now,
    Cancelled,
    HandBack,
    Revoked,
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

    /// Gives the delivery back to the caller, unless this process has lost the same attempt in flight, or has finished it.
    fn not_mine_now(&self, id: &RequestId, delivery: Delivery) -> Option<Delivery> {
        let execution = IncomingRequest::from(&delivery).execution(id);
        match self.in_flight.adopt(&execution, delivery) {
            Adoption::NotInFlight(delivery) => self.not_finished(&execution, delivery),
            Adoption::Adopted => {
                info!(requestId = id.text(), worker = self.name, "{ADOPTED}");
                None
            }
            // Its turn comes when that has been settled.
            Adoption::Settling(delivery, _) => Some(delivery),
        }
    }

    /// Gives the delivery back to the caller, unless it was delivered before, and this process has the same attempt in
    /// flight, or has finished it.
    async fn not_mine(&self, id: &RequestId, mut delivery: Delivery) -> Option<Delivery> {
        let incoming = IncomingRequest::from(&delivery);
        if incoming.deliveries() == 1 {
            return Some(delivery);
        }
        let execution = incoming.execution(id);
        loop {
            delivery = match self.in_flight.adopt(&execution, delivery) {
                Adoption::NotInFlight(delivery) => break self.not_finished(&execution, delivery),
                Adoption::Adopted => {
                    info!(requestId = id.text(), worker = self.name, "{ADOPTED}");
                    break None;
                }
                Adoption::Settling(delivery, ended) => {
                    tokio::select! {
                        () = ended.cancelled() => {}
                        () = delivery.revoked() => break None,
                    }
                    delivery
                }
            }
        }
    }

    fn not_finished(&self, execution: &Execution, delivery: Delivery) -> Option<Delivery> {
        if !self.claims.is_finished(execution) {
            return Some(delivery);
        }
        let (id, worker) = (execution.request_id.text(), &self.name);
        info!(requestId = id, worker, "acked a redelivery, this process has finished the work");
        delivery.ack();
        None
    }

    async fn admit(
        &self,
        request: Request,
        in_flight: Option<InFlightGuard>,
        is_ahead: bool,
        delivery: Delivery,
    ) -> Handled<'_> {
        let incoming = IncomingRequest::from(&delivery);
        let mut broker_start = None;
        if incoming.is_uncounted_redelivery() {
            let Some(read) = self.unless_it_goes_back(self.broker_start.id(), &delivery).await
            else {
                self.settler.hand_back(delivery, false).await;
                return Handled::default();
            };
            broker_start = read;
        }
        let start = broker_start.as_deref();
        let mut admission = admission::admit(incoming, &self.policy, start, SystemTime::now());
        if let Admission::Ask { needed } = admission {
            let execution = incoming.execution(&request.id);
            let asking = self.claims.ask(&execution, needed);
            let Some(claimed) = self.answers(&request.id, asking, &delivery).await else {
                self.settler.hand_back(delivery, false).await;
                return Handled::default();
            };
            let now = SystemTime::now();
            admission = admission::after_answers(incoming, &self.policy, claimed, start, now);
        }
        match admission {
            Admission::Reject(error) => {
                self.settler.reject(Some(&request.id), error, delivery).await;
            }
            Admission::Republish(copy) => {
                self.settler.republish(&request.id, &copy, delivery).await;
            }
            Admission::Accept { isolated } => {
                return self.accept(request, in_flight, isolated, is_ahead, delivery).await;
            }
            // It is not asked twice.
            Admission::Ask { .. } => self.settler.hand_back(delivery, false).await,
        }
        Handled::default()
    }

    /// Waits for the answers to a question. None if the delivery goes back.
    async fn answers(
        &self,
        id: &RequestId,
        asking: impl Future<Output = i64>,
        delivery: &Delivery,
    ) -> Option<i64> {
        let (id, worker) = (id.text(), &self.name);
        let deliveries = IncomingRequest::from(delivery).deliveries();
        info!(requestId = id, worker, deliveries, "{ASKING}");
        let claimed = self.unless_it_goes_back(asking, delivery).await?;
        info!(requestId = id, worker, deliveries, claimed, "{ASKED}");
        Some(claimed)
    }

    /// Waits for something before a job may start. None if the delivery goes back first: the broker has taken it, or the
    /// program stops.
    async fn unless_it_goes_back<T>(
        &self,
        waiting: impl Future<Output = T>,
        delivery: &Delivery,
    ) -> Option<T> {
        tokio::select! {
            biased;
            () = delivery.revoked() => None,
            () = self.drain.cancelled() => None,
            done = waiting => Some(done),
        }
    }

    async fn accept(
        &self,
        request: Request,
        in_flight: Option<InFlightGuard>,
        isolated: bool,
        is_ahead: bool,
        delivery: Delivery,
    ) -> Handled<'_> {
        let (id, worker) = (request.id.text(), &self.name);
        let incoming = IncomingRequest::from(&delivery);
        let execution = incoming.execution(&request.id);
        self.claims.take(&execution, incoming.deliveries(), delivery.watch());
        let Some(permit) = self.isolation.permit(self.slot, isolated) else {
            debug!(requestId = id, worker, "handed back, another request runs in isolation here");
            match isolated {
                true => self.settler.hand_back_later(delivery).await,
                false => self.settler.hand_back(delivery, false).await,
            }
            return Handled::default();
        };
        // From here on `who` finds it, until it is settled.
        let in_flight = in_flight.unwrap_or_else(|| {
            let started = self.started_event(&request.id, incoming);
            self.in_flight.add(started, delivery.watch())
        });
        if isolated {
            let deliveries = IncomingRequest::from(&delivery).deliveries();
            info!(requestId = id, worker, deliveries, "{WAITING_FOR_ISOLATION}");
        }
        match self.wait_for_start(id, &permit, &in_flight, &delivery).await {
            Start::Now => return self.process(request, in_flight, is_ahead, delivery).await,
            Start::Cancelled => {
                info!(requestId = id, worker, "{CANCELLED_BEFORE_START}");
                delivery.ack();
            }
            Start::HandBack => self.settler.hand_back(delivery, false).await,
            Start::Revoked => {}
        }
        Handled::default()
    }

    /// Waits until the job may start, or must not start any more.
    async fn wait_for_start(
        &self,
        id: &str,
        permit: &WorkPermit,
        in_flight: &InFlightGuard,
        delivery: &Delivery,
    ) -> Start {
        tokio::select! {
            biased;
            () = delivery.revoked() => Start::Revoked,
            () = in_flight.cancelled() => Start::Cancelled,
            () = self.drain.cancelled() => Start::HandBack,
            () = permit.ready() => Start::Now,
            () = sleep(self.isolation_timeout) => {
                let worker = &self.name;
                warn!(requestId = id, worker, "waited too long for isolation, starting beside other requests");
                Start::Now
            }
        }
    }

    async fn process(
        &self,
        request: Request,
        in_flight: InFlightGuard,
        is_ahead: bool,
        delivery: Delivery,
    ) -> Handled<'_> {
        let worker = self.name.as_str();
        let Request { id, data } = request;
        let incoming = IncomingRequest::from(&delivery);
        let (attempt, deliveries) = (incoming.attempt(), incoming.deliveries());
        info!(requestId = %id, worker, attempt, redelivered = delivery.redelivered, "{STARTED}");
        let (started, began) = (SystemTime::now(), Instant::now());
        in_flight.start(started);
        let announce_at_once = delivery.redelivered || attempt > 1 || deliveries > 1;
        let (deadline, stop) = (self.job_runner.deadline(started), CancellationToken::new());
        let trace = incoming.trace();
        let traced = trace.as_ref().and_then(|trace| job_span::begin(trace, &id, incoming, worker));
        let trace = traced.as_ref().map(Span::context).or(trace.as_ref());
        let traceparent = trace.map(|trace| trace.as_str().to_owned());
        let request_type = self.request_type.clone();
        let (reporter, progress_urls) = (Reporter::default(), self.progress_urls.clone());
        let reports = reporter.reports();
        let job = Job {
            id: id.clone(),
            request_type,
            input: data,
            attempt,
            deadline,
            traceparent,
            reporter,
            progress_urls,
            stop,
        };
        let span = info_span!("job", requestId = %id, worker);
        let outcome = tokio::select! {
            // First, or a job that ends at once would not be announced.
            biased;
            never = in_flight.announce_work(announce_at_once, reports) => match never {},
            never = self.host_faults.note_begun(began) => match never {},
            outcome = self.job_runner.run(job, self.stop_reason(&in_flight)).instrument(span) => outcome,
        };
        self.metrics.ended(&self.request_type, &outcome, began.elapsed());
        job_span::end(traced, &outcome);
        let record = WorkRecord { worker: self.name.clone(), started, finished: SystemTime::now() };
        let is_last = attempt >= self.policy.max_attempts;
        log_outcome(&id, attempt, is_last, &outcome, &record);
        match &outcome {
            // Before the hand-back, or this worker would take the request again at once.
            JobOutcome::NotStarted(reason) => self.host_faults.failed(self.slot, began, reason),
            JobOutcome::Interrupted | JobOutcome::Cancelled => {}
            _ => self.host_faults.began(began),
        }
        let took = Some(began.elapsed());
        let delivery = in_flight.latest(delivery);
        let may_wait = is_ahead && matches!(outcome, JobOutcome::Completed(_));
        let settling = async move {
            let execution = IncomingRequest::from(&delivery).execution(&id);
            if self.settler.settle(&id, outcome, &record, &in_flight, delivery).await {
                self.claims.finish(&execution);
            }
        };
        if may_wait {
            return Handled { took, rest: Some(settling.boxed()) };
        }
        settling.await;
        Handled { took, rest: None }
    }

    /// The event that announces a request whose job has started.
    fn started_event(&self, id: &RequestId, request: IncomingRequest<'_>) -> JobEvent {
        JobEvent {
            request_type: self.request_type.clone(),
            run: request.run(),
            attempt: request.attempt(),
            delivery: request.deliveries(),
            ..JobEvent::new(JobEventName::Started, id.clone(), &self.name)
        }
    }

    /// Waits until there is a reason to stop the job.
    async fn stop_reason(&self, in_flight: &InFlightGuard) -> StopReason {
        tokio::select! {
            () = in_flight.cancelled() => StopReason::Cancelled,
            () = self.give_up.cancelled() => StopReason::Interrupted,
        }
    }
}
