//! One message on its way to the broker: the outcome is shared by its caller and the channel's task.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, timeout_at},
};

use crate::broker::{broker_metrics::UnconfirmedCount, error::PublishError};
use crate::contract::message::Message;

/// A message for the channel's task. That converts it to what the client takes, on its own thread: memory that one thread
/// allocates and another one frees takes longer to get.
pub(super) struct OutgoingMessage {
    pub(super) message: Arc<Message>,
    /// The program that publishes it.
    pub(super) program: &'static str,
    pub(super) routing: Routing,
    pub(super) pending: PendingPublish,
}

/// Whether a queue has to take a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Routing {
    /// The broker returns it otherwise.
    Mandatory,
    /// The broker may drop it if no queue is bound.
    Optional,
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

/// What is done as soon as a message is confirmed, on the connection's thread, which it must not hold up.
pub(super) type OnConfirm = Box<dyn FnOnce() + Send>;

/// The publishing side of one message. If it is dropped, the caller gets an error: not sent, or
/// unknown. It holds the message's share of the unconfirmed bytes.
pub(super) struct PendingPublish {
    phase: Arc<AtomicU8>,
    caller: Option<oneshot::Sender<Result<Instant, Failure>>>,
    on_confirm: Option<OnConfirm>,
    /// Counts the message among the unconfirmed ones.
    counted: Option<UnconfirmedCount>,
    _room: OwnedSemaphorePermit,
}

/// The caller's side.
pub(super) struct PublishHandle {
    phase: Arc<AtomicU8>,
    outcome: oneshot::Receiver<Result<Instant, Failure>>,
    withdraws_on_drop: bool,
}

pub(super) fn pending_publish(room: OwnedSemaphorePermit) -> (PendingPublish, PublishHandle) {
    let phase = Arc::new(AtomicU8::new(WAITING));
    let (caller, outcome) = oneshot::channel();
    let handle = PublishHandle { phase: phase.clone(), outcome, withdraws_on_drop: false };
    let caller = Some(caller);
    let pending = PendingPublish { phase, caller, on_confirm: None, counted: None, _room: room };
    (pending, handle)
}

impl PendingPublish {
    /// Counts the message until its outcome is known.
    pub(super) fn counted(mut self, count: UnconfirmedCount) -> Self {
        self.counted = Some(count);
        self
    }

    /// Has this done once the message is confirmed. If it is not, this is dropped after the caller has the outcome.
    pub(super) fn then(mut self, on_confirm: Option<OnConfirm>) -> Self {
        self.on_confirm = on_confirm;
        self
    }

    /// Marks the message as being sent. False if its caller has withdrawn it.
    pub(super) fn send(&self) -> bool {
        self.phase.compare_exchange(WAITING, SENT, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Reports the outcome to the caller.
    pub(super) fn end(mut self, outcome: Result<(), Failure>) {
        let is_confirmed = outcome.is_ok();
        self.report(outcome);
        if let Some(on_confirm) = self.on_confirm.take().filter(|_| is_confirmed) {
            on_confirm();
        }
    }

    /// The error if the channel ends before the broker has confirmed the message.
    pub(super) fn lost(&self, reason: &str) -> PublishError {
        match self.phase.load(Ordering::Acquire) {
            SENT => PublishError::Unknown(reason.to_owned()),
            _ => PublishError::NotSent(reason.to_owned()),
        }
    }

    fn report(&mut self, outcome: Result<(), Failure>) {
        self.counted = None;
        if let Some(caller) = self.caller.take() {
            // A caller whose deadline has passed is no longer waiting.
            let _ = caller.send(outcome.map(|()| Instant::now()));
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
    /// From here on the message is not sent, unless it is already, when this is dropped.
    pub(super) fn withdrawn_on_drop(mut self) -> Self {
        self.withdraws_on_drop = true;
        self
    }

    /// Waits for the outcome, until the deadline. Returns when the message was confirmed.
    pub(super) async fn end(mut self, deadline: Instant) -> Result<Instant, Failure> {
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

impl Drop for PublishHandle {
    fn drop(&mut self) {
        if self.withdraws_on_drop {
            self.withdraw();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    /// A message that is sent, its caller, and what ends with a value once something has followed from the confirm.
    fn sent() -> (PendingPublish, PublishHandle, oneshot::Receiver<()>) {
        let room = Arc::new(Semaphore::new(1)).try_acquire_many_owned(1).unwrap();
        let (pending, handle) = pending_publish(room);
        let (begun, follows) = oneshot::channel();
        let pending = pending.then(Some(Box::new(move || begun.send(()).unwrap())));
        assert!(pending.send());
        (pending, handle, follows)
    }

    /// The outcome of a message of which the caller should know by now.
    async fn known(handle: PublishHandle) -> Result<(), Failure> {
        handle.end(Instant::now()).await.map(drop)
    }

    #[test]
    fn what_was_not_sent_can_be_withdrawn_by_who_no_longer_waits() {
        for (withdraws, is_sent) in [(true, false), (false, true)] {
            let room = Arc::new(Semaphore::new(1)).try_acquire_many_owned(1).unwrap();
            let (pending, handle) = pending_publish(room);
            drop(if withdraws { handle.withdrawn_on_drop() } else { handle });
            assert_eq!(pending.send(), is_sent);
        }
    }

    #[tokio::test]
    async fn what_follows_from_a_confirm_begins_with_it() {
        let (pending, handle, follows) = sent();
        pending.end(Ok(()));
        assert!(follows.await.is_ok());
        assert_eq!(known(handle).await, Ok(()));
    }

    #[tokio::test]
    async fn without_a_confirm_nothing_follows_and_the_caller_knows_why() {
        let (pending, handle, follows) = sent();
        pending.end(Err(PublishError::Nacked.into()));
        assert!(follows.await.is_err());
        assert_eq!(known(handle).await, Err(PublishError::Nacked.into()));

        let (pending, handle, follows) = sent();
        drop(pending);
        assert!(follows.await.is_err());
        let unknown = known(handle).await;
        assert!(matches!(unknown, Err(Failure::Final(PublishError::Unknown(_)))), "{unknown:?}");
    }
}
