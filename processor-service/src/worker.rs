//! One worker: takes a delivery, works on it, publishes what came of it, and only then settles.

use std::time::{Duration, SystemTime};

use pipeline::{
    broker::{Consumer, Delivery, PublishError, Publisher},
    contract::{
        ErrorBody, JobEvent, JobEventName, Malformed, Properties, Request, RequestId, codes,
    },
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

use crate::{
    Config, Job, Processor,
    in_hand::InHand,
    jobs::{Jobs, Stop},
    outcome::{self, Decision, Outcome, Work},
};

/// How long a request is held whose messages can't be sent.
const UNSENDABLE: Duration = Duration::from_secs(10);

/// One worker loop. It has one request in hand at a time.
pub struct Worker<P> {
    /// `host:pid/slot`, as results and logs name it.
    pub name: String,
    /// Where the slow work is done.
    pub jobs: Jobs<P>,
    /// Publishes results, shared by all workers.
    pub publisher: Publisher,
    /// What the workers have in hand, this one's request among it.
    pub in_hand: InHand,
    /// The settings of the program.
    pub config: Config,
    /// Cancelled when no new request is to be taken.
    pub drain: CancellationToken,
    /// Cancelled when the request in hand is to be given back.
    pub give_up: CancellationToken,
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
        consumer.close().await;
    }

    /// Deals with one delivery, whatever it is.
    async fn handle(&self, delivery: Delivery) {
        match Request::parse(&delivery.body) {
            Ok(request) => match outcome::expired(&delivery.properties, SystemTime::now()) {
                None => self.work(request, delivery).await,
                Some(at) => {
                    let error = ErrorBody::new(codes::EXPIRED, format!("not begun by {at}"));
                    self.refuse(Some(&request.id), error, delivery).await;
                }
            },
            Err(Malformed { reason, id }) => {
                let error = ErrorBody::new(codes::MALFORMED, reason);
                self.refuse(id.as_ref(), error, delivery).await;
            }
        }
    }

    async fn work(&self, request: Request, delivery: Delivery) {
        let worker = self.name.as_str();
        let Request { id, data } = request;
        let attempt = outcome::attempt(&delivery.properties);
        info!(requestId = %id, worker, attempt, redelivered = delivery.redelivered, "started");
        let started = SystemTime::now();
        let told = self.started(&id, &delivery.properties, started);
        let at_once = delivery.redelivered || attempt > 1 || told.delivery > 1;
        // Others see it here until it is settled.
        let held = self.in_hand.take(told);
        let job = Job { id: id.clone(), data, attempt, stop: CancellationToken::new() };
        let span = info_span!("job", requestId = %id, worker);
        let ended = tokio::select! {
            // First, or work that is done at once would not be announced at once.
            biased;
            never = held.announced(at_once) => match never {},
            ended = self.jobs.run(job, self.stopped()).instrument(span) => ended,
        };
        let work = Work { worker: self.name.clone(), started, finished: SystemTime::now() };
        let ms = work
            .finished
            .duration_since(started)
            .map_or(0, |took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        match &ended {
            Outcome::Done(_) => info!(requestId = %id, worker, ms, "finished"),
            Outcome::Failed(error) | Outcome::Retry(error, _) => {
                warn!(requestId = %id, worker, ms, code = error.code, error = error.message, "failed");
            }
            Outcome::Cancelled => info!(requestId = %id, worker, ms, "cancelled"),
            Outcome::Interrupted => info!(requestId = %id, worker, ms, "handed back"),
        }
        let (properties, body) = (&delivery.properties, &delivery.body);
        match outcome::decide(&id, properties, body, ended, &work, self.config.result_limit) {
            Decision::HandBack => delivery.requeue(),
            Decision::Publish(messages) => {
                let label = id.to_string();
                self.publish_and_settle(&label, &messages, delivery).await;
            }
        }
    }

    /// What is told of a request whose work has begun.
    fn started(&self, id: &RequestId, properties: &Properties, at: SystemTime) -> JobEvent {
        JobEvent {
            at: at.into(),
            run: outcome::run(properties),
            attempt: outcome::attempt(properties),
            delivery: outcome::delivery(properties),
            ..JobEvent::new(JobEventName::Started, id.clone(), &self.name)
        }
    }

    /// Waits until there is a reason to stop the work.
    async fn stopped(&self) -> Stop {
        self.give_up.cancelled().await;
        Stop::Interrupted
    }

    /// Ends a request without having worked on it.
    async fn refuse(&self, id: Option<&RequestId>, error: ErrorBody, delivery: Delivery) {
        let label = id.map(ToString::to_string).unwrap_or_default();
        let (worker, code, reason) = (&self.name, &error.code, &error.message);
        warn!(requestId = label, worker, code, reason, "not worked on");
        let now = SystemTime::now();
        let work = Work { worker: self.name.clone(), started: now, finished: now };
        let messages = outcome::failure(id, &delivery.properties, &delivery.body, error, &work);
        self.publish_and_settle(&label, &messages, delivery).await;
    }

    /// Publishes everything, confirmed, before the request is let go of. If the program is told to
    /// stop before that is done, somebody else does the work again.
    async fn publish_and_settle(
        &self,
        id: &str,
        messages: &[pipeline::contract::Message],
        delivery: Delivery,
    ) {
        for message in messages {
            if let Err(error) = self.publisher.hand_over(message, &self.give_up).await {
                self.hand_back(id, &error).await;
                return delivery.requeue();
            }
        }
        delivery.ack();
    }

    /// Says why a request goes back although its work is done. One whose messages can't be sent at
    /// all would come back at once, again and again: it waits a while here.
    async fn hand_back(&self, id: &str, error: &PublishError) {
        error!(
            requestId = id,
            worker = self.name,
            "not delivered, will be worked on again: {error}"
        );
        if matches!(error, PublishError::Invalid(_)) {
            tokio::select! {
                () = tokio::time::sleep(UNSENDABLE) => {}
                () = self.give_up.cancelled() => {}
            }
        }
    }
}
