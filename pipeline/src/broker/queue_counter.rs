//! Queue counter: counts the requests that wait and their consumers, and the messages in `processing.unreadable`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::broker::{
    declare::Declarer,
    error::AskError,
    link::{Link, LinkState},
};
use crate::{
    health::QueueCounts,
    log_messages::UNREADABLE_MESSAGES,
    topology::names::{REQUESTS, UNREADABLE},
};

/// How often requests and their consumers are counted.
const INTERVAL: Duration = Duration::from_secs(5);
/// How often unreadable messages are counted.
const UNREADABLE_INTERVAL: Duration = Duration::from_secs(60);
/// The time between two attempts where the broker does not tell: each closes a channel.
const REFUSED_INTERVAL: Duration = Duration::from_secs(60);

/// What was counted last, or why nothing is known.
pub type Counted = Result<QueueCounts, NotCounted>;

/// Why nothing is known of a queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotCounted(String);

/// How many messages were counted last; clones share the number.
#[derive(Debug, Clone, Default)]
pub(super) struct UnreadableMessages(Arc<AtomicU32>);

impl UnreadableMessages {
    /// How many messages were counted last; `None` for zero.
    pub(super) fn found(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|count| *count > 0)
    }

    fn note(&self, count: u32) {
        self.0.store(count, Ordering::Relaxed);
        if count > 0 {
            warn!(queue = UNREADABLE, messages = count, "{UNREADABLE_MESSAGES}");
        }
    }
}

/// Counts by passive declarations, on a channel that is open for the time of the question.
pub(super) struct QueueCounter {
    unreadable: UnreadableMessages,
    requests: watch::Sender<Counted>,
}

impl QueueCounter {
    /// A counter, and what it last counted in the queue of requests.
    pub(super) fn new(unreadable: UnreadableMessages) -> (Self, watch::Receiver<Counted>) {
        let (requests, counted) = watch::channel(Err(NotCounted("not counted yet".to_owned())));
        (Self { unreadable, requests }, counted)
    }

    /// Counts until told to stop.
    pub(super) async fn run(self, mut link: Link, stop: CancellationToken) {
        let counting = async {
            let mut unreadable_at = Instant::now();
            while let Some(session) = link.ready_or(|link| self.set_unknown(link)).await {
                let mut declarer = Declarer::on(session);
                let mut pause = self.count_requests(&mut declarer).await;
                if unreadable_at <= Instant::now() {
                    unreadable_at = Instant::now() + UNREADABLE_INTERVAL;
                    pause = pause.max(self.count_unreadable(&mut declarer).await);
                }
                declarer.close_channel().await;
                sleep(pause).await;
            }
        };
        let _ended_or_stopped = stop.run_until_cancelled(counting).await;
    }

    /// Counts the requests and their consumers, and tells when to count again.
    async fn count_requests(&self, declarer: &mut Declarer) -> Duration {
        let counted = declarer.queue_counts(REQUESTS).await;
        let pause = pause_after(counted.as_ref());
        drop(self.requests.send_replace(counted.map_err(|error| NotCounted(error.to_string()))));
        pause
    }

    async fn count_unreadable(&self, declarer: &mut Declarer) -> Duration {
        let counted = declarer.queue_counts(UNREADABLE).await;
        let pause = pause_after(counted.as_ref());
        match counted {
            Ok(counts) => self.unreadable.note(counts.waiting),
            Err(error) => debug!(queue = UNREADABLE, "not counted: {error}"),
        }
        pause
    }

    fn set_unknown(&self, link: &LinkState) {
        if let LinkState::Away(reason) | LinkState::Incomplete(reason) = link {
            drop(self.requests.send_replace(Err(NotCounted(reason.clone()))));
        }
    }
}

fn pause_after(counted: Result<&QueueCounts, &AskError>) -> Duration {
    match counted {
        Err(AskError::Refused { .. }) => REFUSED_INTERVAL,
        Ok(_) | Err(_) => INTERVAL,
    }
}
