//! Candidate: an address of the broker, and the pauses between its sessions.

use std::time::Duration;

use tokio::time::Instant;

use crate::{backoff::Backoff, broker::address::Address};

/// The longest pause after a session that was open, for the first [`SHORT_PAUSES`] of them.
const SHORT_PAUSE: Duration = Duration::from_millis(250);
/// How many sessions in a row may be short before the pauses grow. A message that breaks each
/// connection it is delivered on is parked by the broker after 20 deliveries; until then other
/// messages wait.
const SHORT_PAUSES: u32 = 30;
/// After a session that lived longer than this the pauses are short again.
const STEADY_AFTER: Duration = Duration::from_secs(10);

/// One address, and when to try it next.
pub(super) struct Candidate {
    pub(super) address: Address,
    pub(super) not_before: Instant,
    pub(super) backoff: Backoff,
    /// Sessions in a row that were short.
    short_sessions: u32,
    /// What was logged last, so that the same problem is logged once.
    pub(super) logged: Option<String>,
}

impl Candidate {
    /// An address that has not been tried.
    pub(super) fn new(address: &Address) -> Self {
        Self {
            address: address.clone(),
            not_before: Instant::now(),
            backoff: Backoff::connecting(),
            short_sessions: 0,
            logged: None,
        }
    }

    /// The pause after a session that lasted this long.
    pub(super) fn pause_after(&mut self, lasted: Duration) -> Duration {
        if lasted > STEADY_AFTER {
            self.backoff.reset();
            self.short_sessions = 0;
        }
        self.short_sessions += 1;
        let pause = self.backoff.next_pause();
        if self.short_sessions < SHORT_PAUSES { pause.min(SHORT_PAUSE + pause / 50) } else { pause }
    }
}
