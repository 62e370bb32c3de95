//! One worker: takes a delivery, works on it, publishes what came of it, and only then settles.

mod settle;

use std::time::{Duration, SystemTime};

use pipeline::{
    broker::{Consumer, Delivery, Publisher},
    contract::{ErrorBody, JobEvent, JobEventName, Malformed, Request, RequestId, codes},
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, info_span, warn};

pub(crate) use self::settle::HAND_BACK;
use crate::{
    Job, Processor,
    in_hand::{Held, InHand},
    jobs::{Jobs, Stop},
    outcome::{Outcome, Work},
    receipt::{self, Policy, Receipt},
    received::Received,
    room::{Room, Seat},
};

/// One worker loop. It has one request in hand at a time.
pub struct Worker<P> {
    /// Its number among the workers of this process, from 1.
    pub slot: usize,
    /// `host:pid/slot`, as results and logs name it.
    pub name: String,
    /// Where the slow work is done.
    pub jobs: Jobs<P>,
    /// Where all workers of this process are.
    pub room: Room,
    /// Publishes results, shared by all workers.
    pub publisher: Publisher,
    /// What the workers have in hand, this one's request among it.
    pub in_hand: InHand,
    /// The limits that decisions go by.
    pub policy: Policy,
    /// How long a request may wait here to be alone.
    pub patience: Duration,
    /// Cancelled when no new request is to be taken.
    pub drain: CancellationToken,
    /// Cancelled when the request in hand is to be given back.
    pub give_up: CancellationToken,
}

/// How the wait for its turn ended.
enum Turn {
    Begin,
    Cancelled,
    HandBack,
    Lapsed,
}

impl<P: Processor> Worker<P> {
    /// Takes requests until told to stop.
    pub async fn run(self, mut consumer: Consumer) {
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
                    // Or the ack would fetch a request that is only handed back.
                    consumer.stop();
                    handling.await;
                }
            }
        }
        self.hand_back_the_rest(&mut consumer).await;
        consumer.close().await;
    }

    /// Gives back what the broker had sent already. A broker that doesn't answer has it back when the
    /// connection ends.
    async fn hand_back_the_rest(&self, consumer: &mut Consumer) {
        consumer.stop();
        let rest = async {
            while let Some(delivery) = consumer.next().await {
                self.hand_back(delivery, false).await;
            }
        };
        let _all_or_late = timeout(HAND_BACK, rest).await;
    }

    /// Deals with one delivery, whatever it is.
    async fn handle(&self, delivery: Delivery) {
        let request = match Request::parse(&delivery.body) {
            Ok(request) => request,
            Err(Malformed { reason, id }) => {
                let error = ErrorBody::new(codes::MALFORMED, reason);
                return self.refuse(id.as_ref(), error, delivery).await;
            }
        };
        match receipt::receive(Received::from(&delivery), &self.policy, SystemTime::now()) {
            Receipt::Refuse(error) => self.refuse(Some(&request.id), error, delivery).await,
            Receipt::PassOn(message) => self.pass_on(&request.id, &message, delivery).await,
            Receipt::Work { alone } => match self.room.enter(self.slot, alone) {
                Some(seat) => self.take(request, &seat, alone, delivery).await,
                None => {
                    let (id, worker) = (request.id.text(), &self.name);
                    debug!(requestId = id, worker, "handed back, another request runs alone here");
                    self.hand_back(delivery, false).await;
                }
            },
        }
    }

    /// Takes a request in hand, and works on it when its turn has come.
    async fn take(&self, request: Request, seat: &Seat, alone: bool, delivery: Delivery) {
        // Others see it here until it is settled.
        let held = self.in_hand.take(self.started(&request.id, Received::from(&delivery)));
        if alone {
            let (id, worker) = (request.id.text(), &self.name);
            let deliveries = Received::from(&delivery).deliveries();
            info!(
                requestId = id,
                worker, deliveries, "it may have ended its workers, to run alone"
            );
        }
        match self.turn(&request.id, seat, &held, &delivery).await {
            Turn::Begin => self.work(request, &held, delivery).await,
            Turn::Cancelled => {
                info!(requestId = %request.id, worker = self.name, "cancelled before it began");
                delivery.ack();
            }
            Turn::HandBack => self.hand_back(delivery, false).await,
            Turn::Lapsed => {}
        }
    }

    /// Waits until the work may begin, or until there is no time left for that.
    async fn turn(&self, id: &RequestId, seat: &Seat, held: &Held, delivery: &Delivery) -> Turn {
        tokio::select! {
            biased;
            () = delivery.lapsed() => Turn::Lapsed,
            () = held.cancelled() => Turn::Cancelled,
            () = self.drain.cancelled() => Turn::HandBack,
            () = seat.turn() => Turn::Begin,
            () = sleep(self.patience) => {
                warn!(requestId = id.text(), worker = self.name, "the wait was too long, it runs beside others");
                Turn::Begin
            }
        }
    }

    async fn work(&self, request: Request, held: &Held, delivery: Delivery) {
        let worker = self.name.as_str();
        let Request { id, data } = request;
        let received = Received::from(&delivery);
        let (attempt, deliveries) = (received.attempt(), received.deliveries());
        info!(requestId = %id, worker, attempt, redelivered = delivery.redelivered, "started");
        let started = SystemTime::now();
        held.begin(started);
        let at_once = delivery.redelivered || attempt > 1 || deliveries > 1;
        let deadline = self.jobs.deadline(started);
        let job = Job { id: id.clone(), data, attempt, deadline, stop: CancellationToken::new() };
        let span = info_span!("job", requestId = %id, worker);
        let ended = tokio::select! {
            // First, or work that is done at once would not be announced at once.
            biased;
            never = held.announced(at_once) => match never {},
            ended = self.jobs.run(job, self.stopped(held)).instrument(span) => ended,
        };
        let work = Work { worker: self.name.clone(), started, finished: SystemTime::now() };
        self.log(&id, attempt, &ended, &work);
        self.settle(&id, ended, &work, held, delivery).await;
    }

    /// What is told of a request whose work has begun.
    fn started(&self, id: &RequestId, received: Received<'_>) -> JobEvent {
        JobEvent {
            run: received.run(),
            attempt: received.attempt(),
            delivery: received.deliveries(),
            ..JobEvent::new(JobEventName::Started, id.clone(), &self.name)
        }
    }

    /// Waits until there is a reason to stop the work.
    async fn stopped(&self, held: &Held) -> Stop {
        tokio::select! {
            () = held.cancelled() => Stop::Cancelled,
            () = self.give_up.cancelled() => Stop::Interrupted,
        }
    }

    fn log(&self, id: &RequestId, attempt: i64, ended: &Outcome, work: &Work) {
        let worker = work.worker.as_str();
        let took = work.finished.duration_since(work.started).unwrap_or_default();
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        match ended {
            Outcome::Done(_) => info!(requestId = %id, worker, ms, "finished"),
            Outcome::Failed(error) | Outcome::Retry(error, _) => {
                warn!(requestId = %id, worker, attempt, ms, code = error.code, error = error.message, "failed");
            }
            Outcome::Cancelled => info!(requestId = %id, worker, ms, "cancelled"),
            Outcome::Interrupted => info!(requestId = %id, worker, ms, "handed back"),
        }
    }
}
