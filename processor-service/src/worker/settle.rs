//! What a worker does last with a delivery: publish what came of it, confirmed, and let go of it.

use std::time::{Duration, SystemTime};

use pipeline::{
    broker::{Delivery, PublishError},
    contract::{ErrorBody, Message, RequestId, codes, headers},
};
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

use super::Worker;
use crate::{
    in_hand::Held,
    outcome::{self, Decision, Outcome, TryAgain, Work},
    received::Received,
};

/// How long a request is held whose messages can't be sent.
const UNSENDABLE: Duration = Duration::from_secs(10);
/// How long a request that goes back may take to be there; then the broker is told to keep it, which
/// may count as a delivery.
pub(crate) const HAND_BACK: Duration = Duration::from_secs(1);

impl<P> Worker<P> {
    /// Does with a request what the end of its work means.
    pub(super) async fn settle(
        &self,
        id: &RequestId,
        ended: Outcome,
        work: &Work,
        held: &Held,
        delivery: Delivery,
    ) {
        let again = matches!(ended, Outcome::Retry(..) | Outcome::Interrupted);
        if again && delivery.has_lapsed() {
            return self.leave(id);
        }
        let done = matches!(ended, Outcome::Done(_));
        match outcome::decide(id, Received::from(&delivery), ended, work, &self.policy) {
            Decision::Forget => delivery.ack(),
            Decision::HandBack => self.hand_back(delivery, true).await,
            Decision::Publish(messages) => {
                let mut sent = self.send(&messages).await;
                if let (true, Err(PublishError::Invalid(reason))) = (done, &sent) {
                    // The broker may take less than `RESULT_LIMIT`.
                    let error = ErrorBody::new(codes::RESULT_TOO_LARGE, reason);
                    sent = self.send_failure(Some(id), error, work, &delivery).await;
                }
                self.settled(id.text(), sent, delivery, true).await;
            }
            Decision::TryAgain(again) => self.try_again(id, *again, held, delivery).await,
        }
    }

    async fn try_again(&self, id: &RequestId, again: TryAgain, held: &Held, delivery: Delivery) {
        let TryAgain { message, error, at } = again;
        if let Some(delivery) = self.published(id, &message, delivery, true).await {
            let (worker, at_text) = (&self.name, headers::moment(at));
            info!(requestId = id.text(), worker, nextAttemptAt = at_text, "will be tried again");
            held.announce_retrying(error, at);
            delivery.ack();
        }
    }

    /// Publishes a request in place of the delivered one.
    pub(super) async fn pass_on(&self, id: &RequestId, message: &Message, delivery: Delivery) {
        let leaving = self.room.leaving();
        if let Some(delivery) = self.published(id, message, delivery, false).await {
            let _heard_or_late = timeout(HAND_BACK, delivery.ack_and_wait()).await;
        }
        drop(leaving);
    }

    /// Publishes a request that goes on in another message; then that of the delivery can be let go of.
    /// Once the broker has taken that back, the other would be one too many.
    async fn published(
        &self,
        id: &RequestId,
        message: &Message,
        delivery: Delivery,
        begun: bool,
    ) -> Option<Delivery> {
        let sent = tokio::select! {
            biased;
            () = delivery.lapsed() => {
                self.leave(id);
                return None;
            }
            sent = self.publisher.publish_until_confirmed(message, &self.give_up) => sent,
        };
        match sent {
            Ok(()) => Some(delivery),
            Err(error) => {
                self.go_back(id.text(), &error, delivery, begun).await;
                None
            }
        }
    }

    /// Ends a request without having worked on it.
    pub(super) async fn refuse(
        &self,
        id: Option<&RequestId>,
        error: ErrorBody,
        delivery: Delivery,
    ) {
        let label = id.map(ToString::to_string).unwrap_or_default();
        let (worker, code, reason) = (&self.name, &error.code, &error.message);
        warn!(requestId = label, worker, code, reason, "not worked on");
        let now = SystemTime::now();
        let work = Work { worker: self.name.clone(), started: now, finished: now };
        let sent = self.send_failure(id, error, &work, &delivery).await;
        self.settled(&label, sent, delivery, false).await;
    }

    async fn send_failure(
        &self,
        id: Option<&RequestId>,
        error: ErrorBody,
        work: &Work,
        delivery: &Delivery,
    ) -> Result<(), PublishError> {
        self.send(&outcome::failure(id, Received::from(delivery), error, work)).await
    }

    /// Publishes everything, confirmed, in this order.
    async fn send(&self, messages: &[Message]) -> Result<(), PublishError> {
        for message in messages {
            self.publisher.publish_until_confirmed(message, &self.give_up).await?;
        }
        Ok(())
    }

    /// Lets go of a request whose messages were sent. If the program is told to stop before that is
    /// done, somebody else does the work again.
    async fn settled(
        &self,
        id: &str,
        sent: Result<(), PublishError>,
        delivery: Delivery,
        begun: bool,
    ) {
        match sent {
            Ok(()) => delivery.ack(),
            Err(error) => self.go_back(id, &error, delivery, begun).await,
        }
    }

    /// Gives a request back whose messages did not get through. One whose messages can't be sent at all
    /// would come back at once, again and again: it waits a while here, and what counts is counted.
    async fn go_back(&self, id: &str, error: &PublishError, delivery: Delivery, begun: bool) {
        error!(
            requestId = id,
            worker = self.name,
            "not delivered, will be worked on again: {error}"
        );
        if !matches!(error, PublishError::Invalid(_)) {
            return self.hand_back(delivery, begun).await;
        }
        tokio::select! {
            () = sleep(UNSENDABLE) => {}
            () = self.give_up.cancelled() => {}
        }
        delivery.requeue();
    }

    /// Gives a request back as if it had not been delivered; `begun` says whether it was worked on.
    pub(super) async fn hand_back(&self, delivery: Delivery, begun: bool) {
        let most = self.policy.deliveries;
        let copy = Received::from(&delivery).handed_back(most, begun, SystemTime::now());
        let Some(copy) = copy.filter(|_| !delivery.has_lapsed()) else {
            return delivery.requeue();
        };
        let _leaving = self.room.leaving();
        match self.publisher.publish(&copy, Instant::now() + HAND_BACK).await {
            Ok(()) => drop(timeout(HAND_BACK, delivery.ack_and_wait()).await),
            Err(error) => {
                let (id, worker) = (copy.properties.message_id, &self.name);
                warn!(requestId = id, worker, "handed back, which is counted: {error}");
                delivery.requeue();
            }
        }
    }

    /// Says that the broker will deliver a request again.
    fn leave(&self, id: &RequestId) {
        let worker = &self.name;
        info!(requestId = id.text(), worker, "the broker has taken it back, and delivers it again");
    }
}
