//! Watches how many messages lie in `processing.unreadable`, which no program consumes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::broker::{declare::Declarer, link::Link};
use crate::{log_messages::UNREADABLE_MESSAGES, topology::names::UNREADABLE};

/// How often the queue is looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// How many messages were found last; clones are the same number.
#[derive(Debug, Clone, Default)]
pub(super) struct UnreadableMessages(Arc<AtomicU32>);

impl UnreadableMessages {
    /// How many there were when they were counted last, if there were any.
    pub(super) fn found(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|count| *count > 0)
    }

    /// Counts them once a minute, and warns as long as there are some.
    pub(super) async fn watch(self, mut link: Link, stop: CancellationToken) {
        let watching = async {
            while let Some(session) = link.ready().await {
                match Declarer::on(session).queue_depth(UNREADABLE).await {
                    Ok(count) => self.note(count),
                    Err(error) => debug!(queue = UNREADABLE, "not counted: {error}"),
                }
                sleep(CHECK_INTERVAL).await;
            }
        };
        let _ended_or_stopped = stop.run_until_cancelled(watching).await;
    }

    fn note(&self, count: u32) {
        self.0.store(count, Ordering::Relaxed);
        if count > 0 {
            warn!(queue = UNREADABLE, messages = count, "{UNREADABLE_MESSAGES}");
        }
    }
}
