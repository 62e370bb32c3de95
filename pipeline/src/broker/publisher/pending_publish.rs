//! One message on its way to the broker: the outcome is shared by its caller and the channel's task.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use amqprs::{BasicProperties, channel::BasicPublishArguments};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, timeout_at},
};

use crate::broker::{error::PublishError, wire};
use crate::contract::message::Message;

/// A message for the channel's task.
pub(super) struct OutgoingMessage {
    pub(super) properties: BasicProperties,
    pub(super) arguments: BasicPublishArguments,
    pub(super) body: Vec<u8>,
    pub(super) pending: PendingPublish,
}

impl OutgoingMessage {
    pub(super) fn new(message: &Message, program: &str, pending: PendingPublish) -> Self {
        let mut arguments = BasicPublishArguments::new(&message.exchange, &message.routing_key);
        arguments.mandatory(true);
        Self {
            properties: wire::to_wire(&message.properties, program),
            arguments,
            body: message.body.clone(),
            pending,
        }
    }

    /// Clears `mandatory`: the broker may drop the message if no queue is bound.
    pub(super) fn not_mandatory(mut self) -> Self {
        self.arguments.mandatory(false);
        self
    }
}

/// Why an attempt to publish a message has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// With this error.
    Final(PublishError),
    /// Because of the channel: the message is to be published again on the next one. If there is no time
    /// for that, with this error.
    Again(PublishError),
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        Self::Final(error)
    }
}

/// Waiting to be sent; the caller can still withdraw it.
const WAITING: u8 = 0;
/// Given to the client.
const SENT: u8 = 1;
/// Withdrawn by its caller before it was sent.
const WITHDRAWN: u8 = 2;

/// The publishing side of one message. If it is dropped, the caller gets an error: not sent, or
/// unknown. It holds the message's share of the unconfirmed bytes.
pub(super) struct PendingPublish {
    phase: Arc<AtomicU8>,
    caller: Option<oneshot::Sender<Result<(), Failure>>>,
    _room: OwnedSemaphorePermit,
}

/// The caller's side.
pub(super) struct PublishHandle {
    phase: Arc<AtomicU8>,
    outcome: oneshot::Receiver<Result<(), Failure>>,
}

pub(super) fn pending_publish(room: OwnedSemaphorePermit) -> (PendingPublish, PublishHandle) {
    let phase = Arc::new(AtomicU8::new(WAITING));
    let (caller, outcome) = oneshot::channel();
    let pending = PendingPublish { phase: phase.clone(), caller: Some(caller), _room: room };
    (pending, PublishHandle { phase, outcome })
}

impl PendingPublish {
    /// Marks the message as being sent. False if its caller has withdrawn it.
    pub(super) fn send(&self) -> bool {
        self.phase.compare_exchange(WAITING, SENT, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Reports the outcome to the caller.
    pub(super) fn end(mut self, outcome: Result<(), Failure>) {
        self.report(outcome);
    }

    /// The error if the channel ends before the broker has confirmed the message.
    pub(super) fn lost(&self, reason: &str) -> PublishError {
        match self.phase.load(Ordering::Acquire) {
            SENT => PublishError::Unknown(reason.to_owned()),
            _ => PublishError::NotSent(reason.to_owned()),
        }
    }

    fn report(&mut self, outcome: Result<(), Failure>) {
        if let Some(caller) = self.caller.take() {
            // A caller whose deadline has passed is no longer waiting.
            let _ = caller.send(outcome);
        }
    }
}

impl Drop for PendingPublish {
    fn drop(&mut self) {
        if self.caller.is_some() {
            self.report(Err(self.lost("the connection was lost").into()));
        }
    }
}

impl PublishHandle {
    /// Waits for the outcome, until the deadline.
    pub(super) async fn end(mut self, deadline: Instant) -> Result<(), Failure> {
        let unknown = |reason: &str| Err(PublishError::Unknown(reason.to_owned()).into());
        match timeout_at(deadline, &mut self.outcome).await {
            Ok(outcome) => outcome.unwrap_or_else(|_| unknown("the publisher ended")),
            Err(_) if self.withdraw() => Err(PublishError::Overloaded.into()),
            Err(_) => unknown("no confirm came in time"),
        }
    }

    fn withdraw(&self) -> bool {
        self.phase.compare_exchange(WAITING, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}
