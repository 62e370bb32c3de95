//! Rest: what is left of a subscription that receives nothing more.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;

use crate::broker::consumer::{
    delivery::{DeliveryWatch, Settle},
    prefetch_mode::Ended,
};

/// The deliveries of a subscription that are still to be settled.
pub(super) struct Rest {
    /// What they are settled with.
    pub(super) settled: mpsc::UnboundedReceiver<Settle>,
    pub(super) watch: DeliveryWatch,
    /// Says at its end that the broker has requeued what was not settled. None if it was said.
    pub(super) revoked: Option<DropGuard>,
}

impl Rest {
    /// Notes that the broker has taken them back with the end of their channel or consumer. The oldest of them is so old; none
    /// if that can't be the reason for a cancel.
    pub(super) fn taken_back(&mut self, ended: &Ended, oldest: Option<Duration>) {
        let Some(revoked) = self.revoked.take() else { return };
        if ended.is_timeout(oldest) {
            self.watch.time_out();
        }
        drop(revoked);
    }
}
