//! Background publisher: takes messages without waiting, also while the broker is away, and publishes them in order.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::broker::publisher::Publisher;
use crate::contract::message::Message;

/// Takes messages without waiting and publishes them in their order, each until it is confirmed. Clones
/// share the waiting messages.
///
/// Messages wait in memory while the broker is away: at most as many as the capacity, and no longer than
/// the process lives. After a lost connection the broker may get one of them twice. A message that
/// must outlive the process belongs in a table (an outbox) that is committed with the data it is about.
#[derive(Clone)]
pub struct BackgroundPublisher {
    capacity: usize,
    room: Arc<Semaphore>,
    messages: mpsc::UnboundedSender<Waiting>,
    stop: CancellationToken,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// A message and its place among those that wait.
type Waiting = (Arc<Message>, OwnedSemaphorePermit);

impl BackgroundPublisher {
    /// Begins to publish. `capacity` is how many messages may wait for their confirm.
    pub(crate) fn start(publisher: Publisher, capacity: usize) -> Self {
        let (messages, waiting) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let runtime = publisher.runtime().clone();
        let task = runtime.spawn(publish(publisher, waiting, stop.clone()));
        Self {
            capacity,
            room: Arc::new(Semaphore::new(capacity)),
            messages,
            stop,
            task: Arc::new(Mutex::new(Some(task))),
        }
    }

    /// Takes a message and returns at once. False if it was not taken, because as many as the capacity are
    /// waiting or the program is stopping.
    pub fn try_publish(&self, message: impl Into<Arc<Message>>) -> bool {
        let Ok(room) = self.room.clone().try_acquire_owned() else { return false };
        self.messages.send((message.into(), room)).is_ok()
    }

    /// How many messages wait for their confirm.
    pub fn waiting(&self) -> usize {
        self.capacity - self.room.available_permits()
    }

    /// Takes no more messages, and publishes those that wait, until the deadline at the latest.
    pub(crate) async fn close(&self, deadline: Instant) {
        self.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut task) = task else { return };
        let has_ended = matches!(timeout_at(deadline, &mut task).await, Ok(Ok(())));
        if !has_ended {
            task.abort();
            warn!(messages = self.waiting(), "stopped with messages that were not published");
        }
    }
}

/// Publishes until `stop`, and then what has come before.
async fn publish(
    publisher: Publisher,
    mut messages: mpsc::UnboundedReceiver<Waiting>,
    stop: CancellationToken,
) {
    // Each message is tried until the task is aborted.
    let never = CancellationToken::new();
    loop {
        let next = tokio::select! {
            () = stop.cancelled(), if !messages.is_closed() => {
                messages.close();
                continue;
            }
            next = messages.recv() => next,
        };
        let Some((message, _room)) = next else { return };
        if let Err(invalid) = publisher.publish_until_confirmed(message.clone(), &never).await {
            error!(key = message.routing_key, "dropped a message: {invalid}");
        }
    }
}
