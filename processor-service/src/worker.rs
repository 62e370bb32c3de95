//! A worker: takes one request at a time from its consumer, processes it, and settles it.

pub(crate) mod claims;
pub(crate) mod control;
pub(crate) mod host_faults;
pub(crate) mod in_flight;
pub(crate) mod isolation;
pub(crate) mod job_runner;
pub(crate) mod settle;

use std::time::{Duration, SystemTime};

use pipeline::{
    broker::{BrokerStart, Consumer, Delivery},
    contract::{
        ErrorBody, Execution, JobEvent, JobEventName, Malformed, Request, RequestId, codes,
    },
    log_messages::{
        ADOPTED, ASKED, ASKING, CANCELLED, FAILED, FINISHED, HANDED_BACK, STARTED,
        WAITING_FOR_ISOLATION,
    },
};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, info_span, warn};

use self::{
    claims::Claims,
    host_faults::HostFaults,
    in_flight::{Adoption, InFlight, InFlightGuard},
    isolation::{Isolation, WorkPermit},
    job_runner::{JobRunner, StopReason},
    settle::{HAND_BACK_TIMEOUT, Settler},
};
use crate::{
    decisions::{
        admission::{self, Admission},
        incoming::IncomingRequest,
        outcome::{JobOutcome, WorkRecord, code_of_attempt},
        policy::Policy,
    },
    processor::{Processor, job::Job},
};

/// A worker. It processes one request at a time.
pub(crate) struct Worker<P> {
    /// Its number among the workers of this process, from 1.
    pub(crate) slot: usize,
    /// `host:pid/slot`, as results and logs name it.
    pub(crate) name: String,
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

impl<P: Processor> Worker<P> {
    /// Takes requests until told to stop.
    pub(crate) async fn run(self, mut consumer: Consumer) {
        loop {
            let delivery = tokio::select! {
                biased;
                () = self.drain.cancelled() => break,
                delivery = consumer.next() => delivery,
            };
            let Some(delivery) = delivery else { break };
            let handling = self.handle(delivery);
            tokio::pin!(handling);
            tokio::select! {
                () = &mut handling => {}
                () = self.drain.cancelled() => {
                    // Or the ack would bring a request that is only handed back.
                    consumer.stop();
                    handling.await;
                }
            }
        }
        self.hand_back_rest(&mut consumer).await;
        consumer.close().await;
    }

    /// Hands back what the broker has sent already. A broker that does not answer takes it back when the connection
    /// ends.
    async fn hand_back_rest(&self, consumer: &mut Consumer) {
        consumer.stop();
        let rest = async {
            while let Some(delivery) = consumer.next().await {
                self.settler.hand_back(delivery, false).await;
            }
        };
        let _all_or_late = timeout(HAND_BACK_TIMEOUT, rest).await;
    }

    /// Handles one delivery, whatever it is.
    async fn handle(&self, delivery: Delivery) {
        let request = match Request::parse(&delivery.body) {
            Ok(request) => request,
            Err(Malformed { reason, id }) => {
                let error = ErrorBody::new(codes::MALFORMED, reason);
                return self.settler.reject(id.as_ref(), error, delivery).await;
            }
        };
        if let Some(delivery) = self.not_mine(&request.id, delivery).await {
            self.admit(request, delivery).await;
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

    async fn admit(&self, request: Request, delivery: Delivery) {
        let incoming = IncomingRequest::from(&delivery);
        let mut broker_start = None;
        if incoming.is_uncounted_redelivery() {
            let Some(read) = self.unless_it_goes_back(self.broker_start.id(), &delivery).await
            else {
                return self.settler.hand_back(delivery, false).await;
            };
            broker_start = read;
        }
        let start = broker_start.as_deref();
        let mut admission = admission::admit(incoming, &self.policy, start, SystemTime::now());
        if let Admission::Ask { needed } = admission {
            let execution = incoming.execution(&request.id);
            let asking = self.claims.ask(&execution, needed);
            let Some(claimed) = self.answers(&request.id, asking, &delivery).await else {
                return self.settler.hand_back(delivery, false).await;
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
            Admission::Accept { isolated } => self.accept(request, isolated, delivery).await,
            // It is not asked twice.
            Admission::Ask { .. } => self.settler.hand_back(delivery, false).await,
        }
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

    async fn accept(&self, request: Request, isolated: bool, delivery: Delivery) {
        let (id, worker) = (request.id.text(), &self.name);
        let incoming = IncomingRequest::from(&delivery);
        let execution = incoming.execution(&request.id);
        self.claims.take(&execution, incoming.deliveries(), delivery.watch());
        let Some(permit) = self.isolation.permit(self.slot, isolated) else {
            debug!(requestId = id, worker, "handed back, another request runs in isolation here");
            return match isolated {
                true => self.settler.hand_back_later(delivery).await,
                false => self.settler.hand_back(delivery, false).await,
            };
        };
        // From here on `who` finds it, until it is settled.
        let started = self.started_event(&request.id, incoming);
        let in_flight = self.in_flight.add(started, delivery.watch());
        if isolated {
            let deliveries = IncomingRequest::from(&delivery).deliveries();
            info!(requestId = id, worker, deliveries, "{WAITING_FOR_ISOLATION}");
        }
        match self.wait_for_start(id, &permit, &in_flight, &delivery).await {
            Start::Now => self.process(request, &in_flight, delivery).await,
            Start::Cancelled => {
                info!(requestId = id, worker, "cancelled before it started");
                delivery.ack();
            }
            Start::HandBack => self.settler.hand_back(delivery, false).await,
            Start::Revoked => {}
        }
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

    async fn process(&self, request: Request, in_flight: &InFlightGuard, delivery: Delivery) {
        let worker = self.name.as_str();
        let Request { id, data } = request;
        let incoming = IncomingRequest::from(&delivery);
        let (attempt, deliveries) = (incoming.attempt(), incoming.deliveries());
        info!(requestId = %id, worker, attempt, redelivered = delivery.redelivered, "{STARTED}");
        let (started, began) = (SystemTime::now(), Instant::now());
        in_flight.start(started);
        let announce_at_once = delivery.redelivered || attempt > 1 || deliveries > 1;
        let (deadline, stop) = (self.job_runner.deadline(started), CancellationToken::new());
        let job = Job { id: id.clone(), input: data, attempt, deadline, stop };
        let span = info_span!("job", requestId = %id, worker);
        let outcome = tokio::select! {
            // First, or a job that ends at once would not be announced.
            biased;
            never = in_flight.announce_started(announce_at_once) => match never {},
            never = self.host_faults.note_begun(began) => match never {},
            outcome = self.job_runner.run(job, self.stop_reason(in_flight)).instrument(span) => outcome,
        };
        let record = WorkRecord { worker: self.name.clone(), started, finished: SystemTime::now() };
        let is_last = attempt >= self.policy.max_attempts;
        log_outcome(&id, attempt, is_last, &outcome, &record);
        match &outcome {
            // Before the hand-back, or this worker would take the request again at once.
            JobOutcome::NotStarted(reason) => self.host_faults.failed(self.slot, began, reason),
            JobOutcome::Interrupted | JobOutcome::Cancelled => {}
            _ => self.host_faults.began(began),
        }
        let delivery = in_flight.latest(delivery);
        let execution = IncomingRequest::from(&delivery).execution(&id);
        if self.settler.settle(&id, outcome, &record, in_flight, delivery).await {
            self.claims.finish(&execution);
        }
    }

    /// The event that announces a request whose job has started.
    fn started_event(&self, id: &RequestId, request: IncomingRequest<'_>) -> JobEvent {
        JobEvent {
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

fn log_outcome(
    id: &RequestId,
    attempt: i64,
    is_last: bool,
    outcome: &JobOutcome,
    record: &WorkRecord,
) {
    let worker = record.worker.as_str();
    let took = record.finished.duration_since(record.started).unwrap_or_default();
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match outcome {
        JobOutcome::Completed(_) => info!(requestId = %id, worker, ms, "{FINISHED}"),
        JobOutcome::Failed(error) | JobOutcome::Retry(error, _) => {
            let code = match outcome {
                JobOutcome::Retry(..) => code_of_attempt(&error.code, is_last),
                _ => &error.code,
            };
            warn!(requestId = %id, worker, attempt, ms, code, error = error.message, "{FAILED}");
        }
        JobOutcome::Cancelled => info!(requestId = %id, worker, ms, "{CANCELLED}"),
        JobOutcome::Interrupted | JobOutcome::NotStarted(_) => {
            info!(requestId = %id, worker, ms, "{HANDED_BACK}")
        }
    }
}
