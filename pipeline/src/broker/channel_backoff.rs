//! What to do when the broker has closed a channel and not the connection.

use std::time::Duration;

use tokio::time::sleep;

use crate::backoff::Backoff;
use crate::broker::{link::Link, session::Session};

/// The pauses between the channels that one user opens on a connection.
pub(super) struct ChannelBackoff {
    backoff: Backoff,
    modest: bool,
}

impl ChannelBackoff {
    /// For a channel that the program can't do without.
    pub(super) fn vital() -> Self {
        Self { backoff: Backoff::connecting(), modest: false }
    }

    /// For a channel that must not cost the others anything. Too many closed channels end the
    /// connection, so the last ones are left to those that need them.
    pub(super) fn modest() -> Self {
        Self {
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(60)).with_jitter(),
            modest: true,
        }
    }

    /// Has the topology mended and waits until a channel may be opened again. `life` is how long
    /// the last one lived. Doesn't wait if the connection is gone.
    pub(super) async fn pause(&mut self, link: &Link, session: &Session, life: Duration) {
        self.backoff.reset_after(life);
        if session.is_lost() {
            return;
        }
        if self.modest && session.channels_run_short() {
            session.lost().await;
            return;
        }
        link.repair().await;
        sleep(self.backoff.next_pause()).await;
    }
}
