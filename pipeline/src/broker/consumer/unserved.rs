//! Finds consumers that the broker has forgotten: messages wait, and it delivers none.
//!
//! The broker tells a consumer when it cancels it. Where it does not, as when a queue has come back without its
//! consumers, the connection lives and heartbeats pass, and the consumer would wait for ever.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep},
};
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::broker::{declare::Declarer, session::Session};

/// How often an idle consumer looks whether messages wait.
const CHECK_INTERVAL: Duration = Duration::from_secs(15);
/// A consumer that got none of the messages that wait looks again after this time: they may just have come.
const SECOND_CHECK_DELAY: Duration = Duration::from_secs(5);
/// For how long one answer is enough for all consumers of a queue.
const MAX_ANSWER_AGE: Duration = Duration::from_secs(3);

/// When the broker was asked, and how many messages waited. None if it did not tell.
type Answer = (Instant, Option<u32>);

/// How many messages wait in the queues of a link, as far as its consumers have asked. Clones share the answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct WaitingMessages(Arc<Mutex<HashMap<String, Answer>>>);

impl WaitingMessages {
    /// How many messages wait in a queue. None if that is not known.
    async fn of(&self, queue: &str, session: &Arc<Session>) -> Option<u32> {
        // Held while the broker is asked, so that others wait for the answer.
        let mut answers = self.0.lock().await;
        if let Some((at, waiting)) = answers.get(queue)
            && at.elapsed() < MAX_ANSWER_AGE
        {
            return *waiting;
        }
        if session.channels_run_short() {
            return None;
        }
        let mut declarer = Declarer::on(session.clone());
        let counts = declarer.queue_counts(queue).await;
        declarer.close_channel().await;
        let counts =
            counts.inspect_err(|error| debug!(queue, "not asked for its numbers: {error}"));
        let waiting = counts.ok().map(|counts| counts.waiting);
        answers.insert(queue.to_owned(), (Instant::now(), waiting));
        waiting
    }
}

/// Watches one subscription.
pub(super) struct ServiceCheck {
    pub(super) session: Arc<Session>,
    pub(super) queue: String,
    pub(super) waiting: WaitingMessages,
    /// How many messages the subscription has received.
    pub(super) received: Arc<AtomicU64>,
    /// The deliveries that were not dropped yet.
    pub(super) held: TaskTracker,
    /// Set to false while it is doubtful whether the consumer is served, so that health says so.
    pub(super) subscribed: watch::Sender<bool>,
}

impl ServiceCheck {
    /// Waits until the broker delivers nothing although messages wait.
    pub(super) async fn until_unserved(self) {
        loop {
            if self.gets_nothing_for(CHECK_INTERVAL).await {
                self.subscribed.send_replace(false);
                if self.gets_nothing_for(SECOND_CHECK_DELAY).await {
                    return;
                }
                self.subscribed.send_replace(true);
            }
        }
    }

    /// Whether the consumer, which has no message in hand, receives none in this time, and some wait at the end of it.
    async fn gets_nothing_for(&self, time: Duration) -> bool {
        let received = || self.received.load(Ordering::Relaxed);
        let before = received();
        sleep(time).await;
        let is_idle = || self.held.is_empty() && received() == before;
        if !is_idle() {
            return false;
        }
        let waiting = self.waiting.of(&self.queue, &self.session).await;
        is_idle() && waiting.is_some_and(|waiting| waiting > 0)
    }
}
