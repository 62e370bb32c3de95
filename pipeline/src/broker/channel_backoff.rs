//! Backoff between channels: after the broker closed a channel and not the connection.

use std::time::Duration;

use tokio::time::sleep;

use crate::backoff::Backoff;
use crate::broker::{link::Link, session::Session};

/// The pauses before one publisher or consumer opens its next channel.
pub(super) struct ChannelBackoff {
    backoff: Backoff,
    optional: bool,
}

impl ChannelBackoff {
    /// For a channel that the program can't do without.
    pub(super) fn required() -> Self {
        Self { backoff: Backoff::connecting(), optional: false }
    }

    /// For a channel that the program can do without. Too many closed channels end the connection, so
    /// this one isn't opened again when their number gets high.
    pub(super) fn optional() -> Self {
        Self {
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(60)).with_jitter(),
            optional: true,
        }
    }

    /// Repairs the topology and waits until a channel may be opened again. `lasted` is how long the
    /// last one was open. Doesn't wait if the connection is lost.
    pub(super) async fn pause(&mut self, link: &Link, session: &Session, lasted: Duration) {
        self.backoff.reset_after(lasted);
        if session.is_lost() {
            return;
        }
        if self.optional && session.channels_run_short() {
            session.lost().await;
            return;
        }
        link.repair().await;
        sleep(self.backoff.next_pause()).await;
    }
}
