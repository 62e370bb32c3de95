//! Notifications that the account of a VIP was read: the message, its queue, and who sends it.

use pipeline::{
    broker::BackgroundPublisher,
    contract::{Message, Timestamp},
    topology::{DEFAULT_EXCHANGE, Queue, QueueType},
};
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use crate::log_messages::NOTIFYING;

/// The durable queue that both sides declare.
pub(crate) const VIP_QUEUE: &str = "vip_queue";

/// The queue as data. However often a VIP service is killed with a notification in hand, it is delivered again.
pub(crate) fn vip_queue() -> Queue {
    Queue::new(VIP_QUEUE, QueueType::Quorum).without_delivery_limit()
}

/// The body of the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Notification {
    pub(crate) account_id: String,
    pub(crate) read_at: Timestamp,
}

/// Sends notifications. It never waits: the caller has a request to answer.
pub(crate) trait Notifier: Send + Sync {
    /// Sends a notification, now or when the broker is back.
    fn notify(&self, notification: &Notification);
}

impl Notifier for BackgroundPublisher {
    fn notify(&self, notification: &Notification) {
        let message = Message::json(DEFAULT_EXCHANGE, VIP_QUEUE, notification);
        let id = &notification.account_id;
        if self.try_publish(message) {
            debug!(accountId = id, "{NOTIFYING}");
        } else {
            warn!(accountId = id, waiting = self.waiting(), "dropped a notification");
        }
    }
}
