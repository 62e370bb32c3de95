//! Counts the messages in `processing.unreadable`, which no program consumes, and warns of them.

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

/// How often the messages are counted.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// How many messages were counted last; clones share the number.
#[derive(Debug, Clone, Default)]
pub(super) struct UnreadableMessages(Arc<AtomicU32>);

impl UnreadableMessages {
    /// How many messages were counted last; `None` for zero.
    pub(super) fn found(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|count| *count > 0)
    }

    /// Counts the messages once a minute, and warns while there are any.
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
