//! One message in hand: settled once, on the channel it came by, or given back.

use amqprs::Deliver;
use tokio::sync::{mpsc, oneshot};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::contract::message::Properties;

/// A message that was received and not yet settled.
///
/// Settling consumes it, so nobody settles twice, and goes to the channel it came from: if that is
/// gone, the broker has taken the message back already and settling does nothing. A delivery that
/// is dropped goes back to the queue.
pub struct Delivery {
    /// The exchange it was published to.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// What the message says of itself.
    pub properties: Properties,
    /// The body's bytes.
    pub body: Vec<u8>,
    /// Whether the message was delivered to somebody before.
    pub redelivered: bool,
    tag: u64,
    settles: mpsc::UnboundedSender<Settle>,
    settled: bool,
    lapsed: CancellationToken,
    _held: TaskTrackerToken,
}

/// What a delivery needs of its subscription.
#[derive(Clone)]
pub(super) struct Ties {
    pub(super) settles: mpsc::UnboundedSender<Settle>,
    /// Cancelled when the broker has ended the subscription, in whatever way.
    pub(super) lapsed: CancellationToken,
    /// Tells when all deliveries were let go.
    pub(super) held: TaskTracker,
}

/// What is to become of the message with a tag.
#[derive(Debug)]
pub(super) enum Settle {
    Ack(u64),
    Requeue(u64),
    /// Not a message: tell when the broker has heard of all before this.
    Tell(oneshot::Sender<()>),
}

impl Delivery {
    pub(super) fn new(
        deliver: &Deliver,
        properties: Properties,
        body: Vec<u8>,
        ties: &Ties,
    ) -> Self {
        let Ties { settles, lapsed, held } = ties.clone();
        let _held = held.token();
        Self {
            exchange: deliver.exchange().clone(),
            routing_key: deliver.routing_key().clone(),
            properties,
            body,
            redelivered: deliver.redelivered(),
            tag: deliver.delivery_tag(),
            settles,
            settled: false,
            lapsed,
            _held,
        }
    }

    /// Tells the broker that the message is done with.
    pub fn ack(mut self) {
        self.settle(Settle::Ack(self.tag));
    }

    /// Like [`Self::ack`], and waits until the broker has heard of it, or the channel is gone.
    pub async fn ack_and_wait(self) {
        let (tell, told) = oneshot::channel();
        let settles = self.settles.clone();
        self.ack();
        if settles.send(Settle::Tell(tell)).is_ok() {
            let _told_or_gone = told.await;
        }
    }

    /// Gives the message back to the queue, for somebody else or for later (nack with requeue).
    pub fn requeue(mut self) {
        self.settle(Settle::Requeue(self.tag));
    }

    /// Whether the channel the message came from is still there. If not, the broker delivers the
    /// message again, and settling it does nothing.
    pub fn is_current(&self) -> bool {
        !self.settles.is_closed()
    }

    /// Waits until the broker has ended the subscription the message came by, and with that has taken
    /// the message back. No other message comes until all deliveries of it were let go.
    pub async fn lapsed(&self) {
        tokio::select! {
            () = self.lapsed.cancelled() => {}
            () = self.settles.closed() => {}
        }
    }

    /// Whether the broker has taken the message back: it delivers it again, to us or to others.
    pub fn has_lapsed(&self) -> bool {
        self.lapsed.is_cancelled() || self.settles.is_closed()
    }

    fn settle(&mut self, settle: Settle) {
        self.settled = true;
        // A channel that is gone has given the message back already.
        let _ = self.settles.send(settle);
    }
}

impl Drop for Delivery {
    /// A delivery lost in a panic must not make its worker deaf.
    fn drop(&mut self) {
        if !self.settled {
            self.settle(Settle::Requeue(self.tag));
        }
    }
}
