//! Settles deliveries: publishes what the decision says, confirmed, and then acks; or hands the request back.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use pipeline::{
    broker::{Delivery, PublishError, Publisher, SharedDelivery},
    contract::{ErrorBody, Execution, Message, Request, RequestId, codes, headers},
    log_messages::{REJECTED, RETRY_SCHEDULED},
};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    decisions::{
        incoming::IncomingRequest,
        next_attempt::NextAttempt,
        outcome::{self, JobOutcome, Settlement, WorkRecord},
        policy::Policy,
    },
    worker::{claims::Claims, in_flight::InFlightGuard, isolation::Isolation},
};

/// How long a request is kept whose messages cannot be sent, before it is requeued.
const UNSENDABLE_DELAY: Duration = Duration::from_secs(10);
/// How long a hand-back may wait for its confirm once the requests in flight are given up, and at any time for a queue that
/// refuses the copy. After that the request is requeued, which counts as a delivery, and leaves two messages if the broker
/// has the copy all the same: so it is longer than a broker usually takes. Else a hand-back has [`COPY_TIMEOUT`].
pub(crate) const HAND_BACK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a copy that replaces a delivery may keep other jobs from starting. As long as the publisher waits for a
/// confirm before it publishes again, so that a slow broker gets no second copy earlier.
const COPY_TIMEOUT: Duration = Duration::from_secs(10);
/// Each time that the copy was not confirmed it has longer, up to this: a broker that is only slow gets few of them.
const MAX_COPY_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The longest delay for a request that cannot run isolated here. If all waiting queues have longer ones, it goes back to
/// its queue at once.
const MAX_ISOLATION_DELAY: Duration = Duration::from_secs(10);

/// Settles the deliveries of one worker.
pub(crate) struct Settler {
    /// `host:pid/slot`.
    pub(crate) worker: String,
    /// Publishes the results; shared by all workers.
    pub(crate) publisher: Publisher,
    /// Keeps jobs from starting while a copy of a delivery is published.
    pub(crate) isolation: Isolation,
    /// The limits that decisions go by.
    pub(crate) policy: Policy,
    /// What was delivered to this process.
    pub(crate) claims: Claims,
    /// Cancelled when requests in flight are to be handed back.
    pub(crate) give_up: CancellationToken,
}

impl Settler {
    /// Settles a request whose job has ended. Returns whether its attempt is over: what follows from it is confirmed.
    pub(crate) async fn settle(
        &self,
        id: &RequestId,
        outcome: JobOutcome,
        record: &WorkRecord,
        in_flight: &InFlightGuard,
        delivery: Delivery,
    ) -> bool {
        let not_final = matches!(
            outcome,
            JobOutcome::Retry(..) | JobOutcome::Interrupted | JobOutcome::NotStarted(_)
        );
        if not_final && delivery.is_revoked() {
            self.log_revoked(id);
            return false;
        }
        let completed = matches!(outcome, JobOutcome::Completed(_));
        match outcome::decide(id, (&delivery).into(), outcome, record, &self.policy) {
            Settlement::Ack => {
                delivery.ack();
                true
            }
            Settlement::HandBack { started } => {
                self.hand_back(delivery, started).await;
                false
            }
            Settlement::Retry(next) => self.retry(id, *next, in_flight, delivery).await,
            Settlement::Publish(messages) => {
                let execution = IncomingRequest::from(&delivery).execution(id);
                let delivery = SharedDelivery::new(delivery);
                let mut published = self.publish_and_ack(messages, &execution, &delivery).await;
                let Some(delivery) = delivery.take() else { return true };
                if let (true, Err(PublishError::Invalid(reason))) = (completed, &published) {
                    // The broker may take less than `RESULT_LIMIT`.
                    let error = ErrorBody::new(codes::RESULT_TOO_LARGE, reason);
                    published = self.publish_failure(Some(id), error, record, &delivery).await;
                }
                self.ack_published(id.text(), published, delivery, true).await
            }
        }
    }

    async fn retry(
        &self,
        id: &RequestId,
        next: NextAttempt,
        in_flight: &InFlightGuard,
        delivery: Delivery,
    ) -> bool {
        let NextAttempt { message, error, at, longer } = next;
        let published = self.publish_copy(id, message, delivery, true).await;
        let Some(delivery) = published else { return false };
        // The line of the failure, before it, names the worker.
        let text = |duration| humantime::format_duration(duration).to_string();
        let (asked, delay) = longer.map(|it| (text(it.asked), text(it.delay))).unzip();
        let next = headers::moment(at);
        info!(requestId = id.text(), nextAttemptAt = next, asked, delay, "{RETRY_SCHEDULED}");
        in_flight.announce_retrying(error, at);
        delivery.ack();
        true
    }

    /// Publishes a copy of a request that is not processed in this delivery, then acks this one. Until the copy is
    /// confirmed the delivery is claimed: if the connection is lost, no worker has died of it.
    ///
    /// A queue that does not take the copy keeps other jobs of the process from starting only for a while. If it has
    /// refused the copy, as a full one does, a waiting queue gets it: this worker may be the only one that could make room.
    pub(crate) async fn republish(&self, id: &RequestId, copy: Message, delivery: Delivery) {
        let incoming = IncomingRequest::from(&delivery);
        let (execution, number) = (incoming.execution(id), incoming.deliveries());
        if !delivery.redelivered {
            self.claims.take(&execution, number, delivery.watch());
        }
        let mut republishing = Some(self.isolation.republishing());
        let (mut copy, mut time) = (Arc::new(copy), COPY_TIMEOUT);
        while let Err(error) = tokio::select! {
            biased;
            () = delivery.revoked() => return self.log_revoked(id),
            () = self.give_up.cancelled() => return self.hand_back(delivery, false).await,
            published = self.publish_within(time, copy.clone()) => published,
        } {
            if let PublishError::Invalid(_) = error {
                return self.give_back_unpublished(id.text(), &error, delivery, false).await;
            }
            republishing = None;
            copy = self.next_copy(id, copy, &error, &delivery);
            time = (2 * time).min(MAX_COPY_TIMEOUT);
        }
        let _republishing = republishing.unwrap_or_else(|| self.isolation.republishing());
        self.claims.forget(&execution, number);
        let _acked_or_late = timeout(HAND_BACK_TIMEOUT, delivery.ack_and_wait()).await;
    }

    /// Publishes a copy. A failure is returned when the time is over, or as invalid if it is for good.
    async fn publish_within(&self, time: Duration, copy: Arc<Message>) -> Result<(), PublishError> {
        let deadline = Instant::now() + time;
        match self.publisher.publish_once_possible(copy, deadline).await {
            Err(error @ PublishError::TooLarge { .. }) => {
                Err(PublishError::Invalid(error.to_string()))
            }
            published @ (Ok(()) | Err(PublishError::Invalid(_))) => published,
            failed => {
                sleep_until(deadline).await;
                failed
            }
        }
    }

    /// The copy to publish after this one was not confirmed.
    fn next_copy(
        &self,
        id: &RequestId,
        copy: Arc<Message>,
        error: &PublishError,
        delivery: &Delivery,
    ) -> Arc<Message> {
        let worker = &self.worker;
        warn!(requestId = id.text(), worker, "its copy is not published yet: {error}");
        if *error != PublishError::Nacked {
            return copy;
        }
        let delay = self.policy.retry_delays.reaching(Duration::ZERO);
        IncomingRequest::from(delivery).instead_of_refused(Arc::unwrap_or_clone(copy), delay).into()
    }

    /// Ends a request with an error, without processing it.
    pub(crate) async fn reject(
        &self,
        id: Option<&RequestId>,
        error: ErrorBody,
        delivery: Delivery,
    ) {
        let label = id.map(ToString::to_string).unwrap_or_default();
        let (worker, code, reason) = (&self.worker, &error.code, &error.message);
        warn!(requestId = label, worker, code, reason, "{REJECTED}");
        let now = SystemTime::now();
        let record = WorkRecord { worker: worker.clone(), started: now, finished: now };
        let published = self.publish_failure(id, error, &record, &delivery).await;
        self.ack_published(&label, published, delivery, false).await;
    }

    /// Whether the requests in flight are to be given up, so that nothing may wait any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.give_up.is_cancelled()
    }

    /// Hands a request back as if it had not been delivered; `started` says whether its job had started. It is published
    /// again, since every other way counts as a delivery on some release of the broker.
    pub(crate) async fn hand_back(&self, delivery: Delivery, started: bool) {
        self.hand_back_through(delivery, |request, mine, now| {
            request.hand_back_copy(mine, started, now)
        })
        .await;
    }

    /// Hands a request back that cannot run isolated here, through the waiting queue with the shortest delay: it may find
    /// no process where it can, and is in danger on its way, since a delivery that nobody received counts as a death.
    pub(crate) async fn hand_back_later(&self, delivery: Delivery) {
        let delay = self.policy.retry_delays.reaching(Duration::ZERO);
        if delay > MAX_ISOLATION_DELAY {
            return self.hand_back(delivery, false).await;
        }
        self.hand_back_through(delivery, |request, mine, now| {
            request.hand_back_later_copy(mine, delay, now)
        })
        .await;
    }

    async fn hand_back_through(
        &self,
        delivery: Delivery,
        copy: impl FnOnce(IncomingRequest<'_>, i64, SystemTime) -> Message,
    ) {
        if delivery.is_revoked() {
            return;
        }
        let incoming = IncomingRequest::from(&delivery);
        let execution = Request::parse(incoming.body).ok().map(|it| incoming.execution(&it.id));
        let mine = execution
            .as_ref()
            .map_or(0, |execution| self.claims.times_before(execution, incoming.deliveries()));
        let copy = copy(incoming, mine, SystemTime::now());
        let id = copy.properties.message_id.clone();
        let _republishing = self.isolation.republishing();
        match self.publish_back(copy, &delivery).await {
            None => {}
            Some(Ok(())) => {
                if let Some(execution) = execution {
                    self.claims.release(&execution);
                }
                let _acked_or_late = timeout(HAND_BACK_TIMEOUT, delivery.ack_and_wait()).await;
            }
            Some(Err(error)) => {
                let worker = &self.worker;
                warn!(requestId = id, worker, "requeued, which counts as a delivery: {error}");
                delivery.requeue();
            }
        }
    }

    /// Publishes the copy of a delivery that goes back. None if the broker has taken the delivery back meanwhile.
    async fn publish_back(&self, copy: Message, delivery: &Delivery) -> Option<Result<(), String>> {
        // A full queue refuses the copy, and takes a requeue.
        let refused_until = Instant::now() + HAND_BACK_TIMEOUT;
        let is_given_up = self.give_up.is_cancelled();
        let deadline = if is_given_up { refused_until } else { Instant::now() + COPY_TIMEOUT };
        let late = async {
            self.give_up.cancelled().await;
            sleep(HAND_BACK_TIMEOUT).await;
        };
        tokio::select! {
            biased;
            () = delivery.revoked() => None,
            published = self.publisher.publish_unless_refused(copy, refused_until, deadline) => {
                Some(published.map_err(|error| error.to_string()))
            }
            () = late, if !is_given_up => Some(Err("the program stops".to_owned())),
        }
    }

    /// Publishes a copy that replaces a delivery, and returns the delivery if it can be acked now. A delivery that the
    /// broker has taken back needs no copy.
    async fn publish_copy(
        &self,
        id: &RequestId,
        copy: Message,
        delivery: Delivery,
        started: bool,
    ) -> Option<Delivery> {
        let published = tokio::select! {
            biased;
            () = delivery.revoked() => {
                self.log_revoked(id);
                return None;
            }
            published = self.publisher.publish_until_confirmed(copy, &self.give_up) => published,
        };
        match published {
            Ok(()) => Some(delivery),
            Err(error) => {
                self.give_back_unpublished(id.text(), &error, delivery, started).await;
                None
            }
        }
    }

    async fn publish_failure(
        &self,
        id: Option<&RequestId>,
        error: ErrorBody,
        record: &WorkRecord,
        delivery: &Delivery,
    ) -> Result<(), PublishError> {
        self.publish_all(outcome::failure(id, delivery.into(), error, record)).await
    }

    /// Publishes these messages in their order, each confirmed before the next.
    async fn publish_all(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        for message in messages {
            self.publisher.publish_until_confirmed(message, &self.give_up).await?;
        }
        Ok(())
    }

    /// Publishes these messages in their order. The confirm of the last one acks their delivery and notes that its attempt is
    /// over, on the connection's thread: the broker sends the next request only after that. If the delivery is still there
    /// afterwards, neither was done.
    async fn publish_and_ack(
        &self,
        mut messages: Vec<Message>,
        execution: &Execution,
        delivery: &SharedDelivery,
    ) -> Result<(), PublishError> {
        let Some(last) = messages.pop() else { return Ok(()) };
        self.publish_all(messages).await?;
        let (claims, execution, delivery) =
            (self.claims.clone(), execution.clone(), delivery.clone());
        let ack = move || {
            delivery.settle(|delivery| {
                claims.finish(&execution);
                delivery.ack();
            });
        };
        self.publisher.publish_until_confirmed_then(last, &self.give_up, ack).await
    }

    /// Acks a request whose messages were published, and returns whether they were. If they were not, because the program
    /// stops, it goes back.
    async fn ack_published(
        &self,
        id: &str,
        published: Result<(), PublishError>,
        delivery: Delivery,
        started: bool,
    ) -> bool {
        match published {
            Ok(()) => {
                delivery.ack();
                true
            }
            Err(error) => {
                self.give_back_unpublished(id, &error, delivery, started).await;
                false
            }
        }
    }

    /// Gives a request back whose messages were not published. A request whose messages can never be sent would come
    /// back at once, again and again: it is kept a while, and requeued so that its deliveries are counted.
    async fn give_back_unpublished(
        &self,
        id: &str,
        error: &PublishError,
        delivery: Delivery,
        started: bool,
    ) {
        let worker = &self.worker;
        error!(requestId = id, worker, "not published, the request goes back: {error}");
        if !matches!(error, PublishError::Invalid(_)) {
            return self.hand_back(delivery, started).await;
        }
        tokio::select! {
            () = sleep(UNSENDABLE_DELAY) => {}
            () = self.give_up.cancelled() => {}
        }
        delivery.requeue();
    }

    fn log_revoked(&self, id: &RequestId) {
        let worker = &self.worker;
        info!(requestId = id.text(), worker, "taken back by the broker, which delivers it again");
    }
}
