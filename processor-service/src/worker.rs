//! A worker: takes one request at a time from its consumer, processes it, and settles it.

pub(crate) mod claims;
pub(crate) mod control;
pub(crate) mod host_faults;
pub(crate) mod in_flight;
pub(crate) mod intake;
pub(crate) mod isolation;
pub(crate) mod job_runner;
mod obsolete_runs;
pub(crate) mod settle;

use std::time::{Duration, SystemTime};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use pipeline::{
    broker::{BrokerStart, Delivery},
    contract::{
        ErrorBody, Execution, JobEvent, JobEventName, Malformed, Request, RequestId, codes,
    },
    log_messages::{
        ADOPTED, ASKED, ASKING, CANCELLED, CANCELLED_BEFORE_START, FAILED, FINISHED, HANDED_BACK,
        STARTED, WAITING_FOR_ISOLATION,
    },
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, info_span, warn};

use self::{
    claims::Claims,
    host_faults::HostFaults,
    in_flight::{Adoption, InFlight, InFlightGuard},
    intake::{Event, Intake, Turn, Waited},
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
    metrics::Metrics,
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

/// What is left to do of deliveries beside the one that has its turn: results to confirm, and requests to hand back.
type Background<'a> = FuturesUnordered<BoxFuture<'a, ()>>;

/// What became of a delivery in its turn.
#[derive(Default)]
struct Handled<'a> {
    /// How long its job took, if it had one.
    took: Option<Duration>,
    /// What is left to do.
    rest: Option<BoxFuture<'a, ()>>,
}

impl<P: Processor> Worker<P> {
    /// Takes requests until told to stop.
    pub(crate) async fn run(self, mut intake: Intake) {
        let mut background = Background::new();
        while let Some(turn) = self.next_turn(&mut intake, &mut background).await {
            if let Some(turn) = self.alone_if_suspect(turn, &mut intake, &mut background).await {
                self.take_turn(turn, &mut intake, &mut background).await;
            }
        }
        self.stop(&mut intake, &mut background).await;
        drop(background);
        intake.close().await;
    }

    /// The delivery whose turn is next. None when the worker has to stop.
    async fn next_turn<'a>(
        &'a self,
        intake: &mut Intake,
        background: &mut Background<'a>,
    ) -> Option<Turn> {
        loop {
            if self.drain.is_cancelled() {
                return None;
            }
            if let Some(turn) = intake.pop() {
                return Some(turn);
            }
            if intake.has_ended() {
                return None;
            }
            tokio::select! {
                biased;
                () = self.drain.cancelled() => {}
                Some(()) = background.next() => {}
                event = intake.next_while_idle() => match event {
                    Event::Received(delivery) => {
                        self.metrics.delivered();
                        return Some(Turn::New(delivery));
                    }
                    Event::Ended => return None,
                    Event::Closed | Event::WaitIsOver => {}
                },
            }
        }
    }

    /// Hands back all else that this worker has, if a worker may have died of this request. None if that went back too.
    async fn alone_if_suspect<'a>(
        &'a self,
        turn: Turn,
        intake: &mut Intake,
        background: &mut Background<'a>,
    ) -> Option<Turn> {
        let Turn::New(delivery) = &turn else { return Some(turn) };
        if !turn.is_suspect() {
            return Some(turn);
        }
        intake.take_one_by_one();
        self.hand_back_waiting(intake, background);
        if intake.is_closing() || !background.is_empty() {
            self.claim(&turn);
        }
        while intake.is_closing() || !background.is_empty() {
            tokio::select! {
                biased;
                () = delivery.revoked() => return None,
                () = self.drain.cancelled() => {
                    background.push(self.give_back(turn).boxed());
                    return None;
                }
                Some(()) = background.next() => {}
                event = intake.next_while_busy() => if let Event::Received(other) = event {
                    background.push(self.give_back(Turn::New(other)).boxed());
                },
            }
        }
        if intake.may_hold_several() {
            // An ack that the broker has not read is lost if this process dies.
            let _settled_or_goes_back =
                self.unless_it_goes_back(delivery.others_settled(), delivery).await;
        }
        Some(turn)
    }

    /// Handles a delivery. Others that come meanwhile wait.
    async fn take_turn<'a>(
        &'a self,
        turn: Turn,
        intake: &mut Intake,
        background: &mut Background<'a>,
    ) {
        let was_suspect = turn.is_suspect();
        if !was_suspect && intake.has_enough_short_jobs() {
            self.claim(&turn);
            let switching = intake.consume_ahead();
            let _switched_or_stopping = self.drain.run_until_cancelled(switching).await;
        }
        let handling = self.handle(turn, intake.is_ahead());
        tokio::pin!(handling);
        let mut is_stopping = false;
        let handled = loop {
            tokio::select! {
                biased;
                handled = &mut handling => break handled,
                () = self.drain.cancelled(), if !is_stopping => {
                    // Or the ack would bring a request that is only handed back.
                    intake.stop();
                    self.hand_back_waiting(intake, background);
                    is_stopping = true;
                }
                Some(()) = background.next() => {}
                event = intake.next_while_busy() => match event {
                    Event::Received(delivery) if is_stopping => {
                        background.push(self.give_back(Turn::New(delivery)).boxed());
                    }
                    Event::Received(delivery) => {
                        self.metrics.delivered();
                        self.let_wait(delivery, intake, background);
                    }
                    Event::WaitIsOver => {
                        intake.take_one_by_one();
                        self.hand_back_waiting(intake, background);
                    }
                    Event::Closed | Event::Ended => {}
                },
            }
        };
        background.extend(handled.rest);
        if let Some(took) = handled.took {
            intake.note_job(took, was_suspect);
        }
    }

    /// Lets a delivery wait for its turn. If a worker may have died of it, nothing else waits with it.
    fn let_wait<'a>(
        &'a self,
        delivery: Delivery,
        intake: &mut Intake,
        background: &mut Background<'a>,
    ) {
        if intake.has_suspect() {
            return background.push(self.give_back(Turn::New(delivery)).boxed());
        }
        if IncomingRequest::from(&delivery).deliveries() == 1 {
            return intake.push(self.waiting(delivery));
        }
        let delivery = match Request::parse(&delivery.body) {
            Ok(request) => self.not_mine_now(&request.id, delivery),
            Err(_) => Some(delivery),
        };
        let Some(turn) = delivery.map(Turn::New) else { return };
        if turn.is_suspect() {
            intake.take_one_by_one();
            self.hand_back_waiting(intake, background);
        }
        self.claim(&turn);
        intake.push(turn);
    }

    /// Claims a delivery that has to wait before it is looked at: if the connection is lost meanwhile, no worker has died
    /// of it.
    fn claim(&self, turn: &Turn) {
        let Turn::New(delivery) = turn else { return };
        let incoming = IncomingRequest::from(delivery);
        if admission::is_claimed_at_once(incoming, &self.policy, SystemTime::now())
            && let Ok(request) = Request::parse(&delivery.body)
        {
            let execution = incoming.execution(&request.id);
            // What this process has finished needs only an ack.
            if !self.claims.is_finished(&execution) {
                self.claims.take(&execution, incoming.deliveries(), delivery.watch());
            }
        }
    }

    /// A first delivery that waits for its turn: it can be cancelled, and this process answers for it.
    fn waiting(&self, delivery: Delivery) -> Turn {
        let Ok(request) = Request::parse(&delivery.body) else { return Turn::New(delivery) };
        let incoming = IncomingRequest::from(&delivery);
        let execution = incoming.execution(&request.id);
        self.claims.take(&execution, incoming.deliveries(), delivery.watch());
        let started = self.started_event(&request.id, incoming);
        let in_flight = self.in_flight.add(started, delivery.watch());
        Turn::Waited(Waited { request, in_flight, delivery })
    }

    fn hand_back_waiting<'a>(&'a self, intake: &mut Intake, background: &mut Background<'a>) {
        let waiting = intake.take_waiting();
        if !waiting.is_empty() {
            let worker = &self.name;
            debug!(worker, requests = waiting.len(), "handing back the requests that wait");
        }
        background.extend(waiting.into_iter().map(|turn| self.give_back(turn).boxed()));
    }

    /// Hands back a delivery whose turn has not come, unless it was cancelled.
    async fn give_back(&self, turn: Turn) {
        match turn {
            Turn::New(delivery) => self.settler.hand_back(delivery, false).await,
            Turn::Waited(Waited { in_flight, delivery, .. }) if in_flight.is_cancelled() => {
                delivery.ack();
            }
            Turn::Waited(Waited { delivery, .. }) => self.settler.hand_back(delivery, false).await,
        }
    }

    /// Hands back what the broker has sent already, and finishes what is left to do. A broker that does not answer takes
    /// everything back when the connection ends.
    async fn stop<'a>(&'a self, intake: &mut Intake, background: &mut Background<'a>) {
        intake.stop();
        self.hand_back_waiting(intake, background);
        let mut may_receive = true;
        let late = sleep(HAND_BACK_TIMEOUT);
        tokio::pin!(late);
        while !background.is_empty() || (may_receive && !intake.has_ended()) {
            tokio::select! {
                biased;
                Some(()) = background.next() => {}
                event = intake.next_while_idle(), if may_receive && !intake.has_ended() => {
                    if let Event::Received(delivery) = event {
                        background.push(self.give_back(Turn::New(delivery)).boxed());
                    }
                }
                () = &mut late, if may_receive => may_receive = false,
            }
        }
    }

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
        let job = Job { id: id.clone(), input: data, attempt, deadline, stop };
        let span = info_span!("job", requestId = %id, worker);
        let outcome = tokio::select! {
            // First, or a job that ends at once would not be announced.
            biased;
            never = in_flight.announce_started(announce_at_once) => match never {},
            never = self.host_faults.note_begun(began) => match never {},
            outcome = self.job_runner.run(job, self.stop_reason(&in_flight)).instrument(span) => outcome,
        };
        self.metrics.ended(&outcome, began.elapsed());
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
