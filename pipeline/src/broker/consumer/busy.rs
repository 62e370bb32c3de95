//! Busy: how many channels of a consumer may have messages.

use tokio::sync::watch;

/// Counts the channels that have messages, or may get some. Clones are the same count.
#[derive(Clone, Default)]
pub(super) struct Busy(watch::Sender<usize>);

/// One of these channels, until it is dropped.
pub(super) struct BusyChannel(watch::Sender<usize>);

impl Busy {
    /// Adds a channel.
    pub(super) fn begin(&self) -> BusyChannel {
        self.0.send_modify(|channels| *channels += 1);
        BusyChannel(self.0.clone())
    }

    /// How many there are.
    pub(super) fn channels(&self) -> watch::Receiver<usize> {
        self.0.subscribe()
    }
}

impl Drop for BusyChannel {
    fn drop(&mut self) {
        self.0.send_modify(|channels| *channels -= 1);
    }
}
