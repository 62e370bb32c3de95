//! Delivery: a received message, which is acked or requeued exactly once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amqprs::Deliver;
use tokio::sync::{mpsc, oneshot};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::{
    broker::{broker_metrics::DeliveryCounters, session::SpareChannels},
    contract::message::Properties,
};

/// A message that was received and not yet settled.
///
/// Settling takes it by value, so it happens once, and on the channel of the delivery: if that is
/// closed, the broker has requeued the message already and settling does nothing. A dropped delivery
/// is requeued.
pub struct Delivery {
    /// The exchange it was published to.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// The AMQP properties and headers.
    pub properties: Properties,
    /// The body's bytes.
    pub body: Vec<u8>,
    /// Whether the message was delivered before, to this or another consumer.
    pub redelivered: bool,
    tag: u64,
    settled: bool,
    ties: Arc<Ties>,
    /// None once its consumer may receive others in its place.
    held: Option<TaskTrackerToken>,
}

/// Tells whether the broker has taken a delivery back, also after the delivery was settled or dropped.
#[derive(Debug, Clone, Default)]
pub struct DeliveryWatch {
    revoked: CancellationToken,
    timed_out: CancellationToken,
}

impl DeliveryWatch {
    /// Whether the subscription of the delivery has ended: the broker has requeued the message.
    pub fn is_revoked(&self) -> bool {
        self.revoked.is_cancelled()
    }

    /// Waits until the subscription of the delivery has ended.
    pub async fn revoked(&self) {
        self.revoked.cancelled().await;
    }

    /// Whether the broker took the delivery back although the connection lived, because the acknowledgement timeout was
    /// over, as far as that can be known.
    pub fn has_timed_out(&self) -> bool {
        self.timed_out.is_cancelled()
    }

    /// Notes that the broker takes the deliveries back although the connection lives.
    pub(super) fn time_out(&self) {
        self.timed_out.cancel();
    }

    /// Notes that the subscription has ended when this is dropped.
    pub(super) fn revoke_on_drop(&self) -> DropGuard {
        self.revoked.clone().drop_guard()
    }
}

/// The connections of a delivery to its subscription, which all its deliveries share.
pub(super) struct Ties {
    pub(super) settles: mpsc::UnboundedSender<Settle>,
    /// Tells when the broker has ended the subscription, for whatever reason.
    pub(super) watch: DeliveryWatch,
    /// Counts the deliveries that were not dropped yet.
    pub(super) held: TaskTracker,
    /// Counts deliveries and settlements.
    pub(super) counters: Arc<DeliveryCounters>,
    /// Whether channels are left on the connection, for consumers that leave theirs.
    pub(super) spare_channels: SpareChannels,
}

/// A settlement of the message with this delivery tag.
#[derive(Debug)]
pub(super) enum Settle {
    Ack(u64),
    Requeue(u64),
    /// Not a settlement: the consumer may receive others while this message is not settled.
    Detach(u64),
    /// Not a settlement: a request to report when the broker has read all settlements before it.
    Flush(oneshot::Sender<()>),
}

impl Delivery {
    pub(super) fn new(
        deliver: &Deliver,
        properties: Properties,
        body: Vec<u8>,
        ties: Arc<Ties>,
    ) -> Self {
        ties.counters.delivered(deliver.redelivered());
        let held = Some(ties.held.token());
        Self {
            exchange: deliver.exchange().clone(),
            routing_key: deliver.routing_key().clone(),
            properties,
            body,
            redelivered: deliver.redelivered(),
            tag: deliver.delivery_tag(),
            settled: false,
            ties,
            held,
        }
    }

    /// Acknowledges the message.
    pub fn ack(mut self) {
        self.settle(Settle::Ack(self.tag));
    }

    /// Like [`Self::ack`], and waits until the broker has read it, or the channel is closed.
    pub async fn ack_and_wait(self) {
        let settles = self.ties.settles.clone();
        self.ack();
        flush(&settles).await;
    }

    /// Waits until the broker has read all settlements of other deliveries so far, or the channel is closed.
    pub async fn others_settled(&self) {
        flush(&self.ties.settles).await;
    }

    /// Lets the consumer receive others, on another channel, although this one is not settled: another worker has it.
    /// Without a channel to spare the consumer waits.
    pub fn detach(&mut self) {
        let detach = Settle::Detach(self.tag);
        if self.ties.spare_channels.are_left() && self.ties.settles.send(detach).is_ok() {
            self.held = None;
        }
    }

    /// Tells when the broker has read the settlement of this delivery. Whoever had it from another worker waits for that:
    /// the consumer may be closed by then.
    pub fn settlement(&self) -> Settlement {
        Settlement(self.ties.settles.clone())
    }

    /// Returns the message to the queue (nack with requeue).
    pub fn requeue(mut self) {
        self.settle(Settle::Requeue(self.tag));
    }

    /// Whether the channel of the delivery is open. If not, the broker delivers the message again, and
    /// settling does nothing.
    pub fn is_current(&self) -> bool {
        !self.ties.settles.is_closed()
    }

    /// Waits until the broker has ended the subscription and requeued the message. The consumer gets no
    /// other message until all deliveries of that subscription were dropped.
    pub async fn revoked(&self) {
        tokio::select! {
            () = self.ties.watch.revoked.cancelled() => {}
            () = self.ties.settles.closed() => {}
        }
    }

    /// Whether the broker has requeued the message: it delivers it again, to this or another consumer.
    pub fn is_revoked(&self) -> bool {
        self.ties.watch.is_revoked() || self.ties.settles.is_closed()
    }

    /// Tells later whether the broker has taken this delivery back.
    pub fn watch(&self) -> DeliveryWatch {
        self.ties.watch.clone()
    }

    fn settle(&mut self, settle: Settle) {
        self.settled = true;
        let is_ack = matches!(settle, Settle::Ack(_));
        // If the channel is closed, the broker has requeued the message.
        match self.ties.settles.send(settle) {
            Ok(()) if is_ack => self.ties.counters.acked(),
            _ => self.ties.counters.requeued(),
        }
    }
}

/// The way of a delivery's settlement to the broker.
pub struct Settlement(mpsc::UnboundedSender<Settle>);

impl Settlement {
    /// Waits until the broker has read what the delivery was settled with, or the channel is closed.
    pub async fn read(self) {
        flush(&self.0).await;
    }
}

/// A delivery that two threads may settle: whoever takes it first.
#[derive(Clone)]
pub struct SharedDelivery(Arc<Mutex<Option<Delivery>>>);

impl SharedDelivery {
    /// Shares a delivery. It is requeued if all clones are dropped and nobody has taken it.
    pub fn new(delivery: Delivery) -> Self {
        Self(Arc::new(Mutex::new(Some(delivery))))
    }

    /// Takes the delivery. None if it was taken before. If it was settled by [`Self::settle`], that is done by then.
    pub fn take(&self) -> Option<Delivery> {
        self.slot().take()
    }

    /// Settles the delivery unless it was taken before.
    pub fn settle(&self, settle: impl FnOnce(Delivery)) {
        // Under the lock: else whoever finds it taken might go on before it is settled.
        let mut slot = self.slot();
        if let Some(delivery) = slot.take() {
            settle(delivery);
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Delivery>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn flush(settles: &mpsc::UnboundedSender<Settle>) {
    let (flushed, done) = oneshot::channel();
    if settles.send(Settle::Flush(flushed)).is_ok() {
        let _flushed_or_closed = done.await;
    }
}

impl Drop for Delivery {
    /// Requeues an unsettled delivery: after a panic its prefetch slot would stay occupied.
    fn drop(&mut self) {
        if !self.settled {
            self.settle(Settle::Requeue(self.tag));
        }
    }
}
