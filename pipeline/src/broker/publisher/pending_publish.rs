//! One message's fate, shared by its caller and the task that sends it.

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

/// A message on its way to the channel.
pub(super) struct Request {
    pub(super) properties: BasicProperties,
    pub(super) arguments: BasicPublishArguments,
    pub(super) body: Vec<u8>,
    pub(super) pending: PendingPublish,
}

impl Request {
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

    /// Lets the broker forget the message if nobody takes it.
    pub(super) fn for_anybody(mut self) -> Self {
        self.arguments.mandatory(false);
        self
    }
}

/// Waiting to be sent; the caller can still take it back.
const WAITING: u8 = 0;
/// Given to the client.
const SENT: u8 = 1;
/// Taken back by its caller before it was sent.
const TAKEN_BACK: u8 = 2;

/// The publishing side of one message's fate. However it is dropped, the caller hears of it: that
/// nothing was sent, or that nobody knows. It holds the message's share of the bytes in flight.
pub(super) struct PendingPublish {
    phase: Arc<AtomicU8>,
    caller: Option<oneshot::Sender<Result<(), PublishError>>>,
    _room: OwnedSemaphorePermit,
}

/// The caller's side.
pub(super) struct PublishHandle {
    phase: Arc<AtomicU8>,
    fate: oneshot::Receiver<Result<(), PublishError>>,
}

pub(super) fn pending_publish(room: OwnedSemaphorePermit) -> (PendingPublish, PublishHandle) {
    let phase = Arc::new(AtomicU8::new(WAITING));
    let (caller, fate) = oneshot::channel();
    let pending = PendingPublish { phase: phase.clone(), caller: Some(caller), _room: room };
    (pending, PublishHandle { phase, fate })
}

impl PendingPublish {
    /// Says that the message is being sent now. False if its caller has taken it back.
    pub(super) fn send(&self) -> bool {
        self.phase.compare_exchange(WAITING, SENT, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(super) fn end(mut self, fate: Result<(), PublishError>) {
        self.tell(fate);
    }

    fn tell(&mut self, fate: Result<(), PublishError>) {
        if let Some(caller) = self.caller.take() {
            // A caller that has gone away at its deadline was answered then.
            let _ = caller.send(fate);
        }
    }
}

impl Drop for PendingPublish {
    fn drop(&mut self) {
        let lost = "the connection was lost";
        self.tell(Err(match self.phase.load(Ordering::Acquire) {
            SENT => PublishError::Unknown(lost.to_owned()),
            _ => PublishError::NotSent(lost.to_owned()),
        }));
    }
}

impl PublishHandle {
    /// Waits for the end, until the deadline.
    pub(super) async fn end(mut self, deadline: Instant) -> Result<(), PublishError> {
        match timeout_at(deadline, &mut self.fate).await {
            Ok(fate) => {
                fate.unwrap_or(Err(PublishError::Unknown("the publisher ended".to_owned())))
            }
            Err(_) if self.take_back() => Err(PublishError::Overloaded),
            Err(_) => Err(PublishError::Unknown("no confirm came in time".to_owned())),
        }
    }

    fn take_back(&self) -> bool {
        self.phase
            .compare_exchange(WAITING, TAKEN_BACK, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}
