//! Consumer: prefetch, manual acknowledgement, and a new subscription after each loss.

mod begin;
mod busy;
pub(crate) mod delivery;
mod exclusive_queue;
mod gathered_settlements;
pub(crate) mod options;
pub(crate) mod prefetch_mode;
mod quiesce;
mod rest;
pub(crate) mod resubscribe;
mod settlement_frames;
pub(crate) mod subscription;
pub(crate) mod unserved;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use self::{
    busy::Busy,
    delivery::Delivery,
    options::{ConsumerOptions, Source},
};
use crate::broker::consumer::resubscribe::Resubscriber;
use crate::broker::link::Link;

/// How long closing a consumer may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Receives the messages of one queue.
///
/// After a lost connection, a closed channel, or a cancel sent by the broker (queue deleted,
/// acknowledgement timeout, failover) it subscribes again, as soon as all deliveries of the former
/// subscription were dropped: a worker that is still busy with one doesn't get another. What another worker has taken
/// ([`Delivery::detach`]) stays on its channel, and the consumer goes on on another.
pub struct Consumer {
    deliveries: mpsc::UnboundedReceiver<Delivery>,
    busy: watch::Receiver<usize>,
    finishing: watch::Receiver<bool>,
    receiving: watch::Receiver<bool>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Consumer {
    /// Begins to consume and returns at once, with a watch on whether it is subscribed.
    pub(super) fn start(link: Link, options: ConsumerOptions) -> (Self, watch::Receiver<bool>) {
        if matches!(options.source, Source::Shared(_)) {
            link.gate().register();
        }
        let stop = CancellationToken::new();
        // The prefetch bounds this channel: only one subscription at a time has unsettled deliveries.
        let (sender, deliveries) = mpsc::unbounded_channel();
        let (subscribed, watched) = watch::channel(false);
        let busy = Busy::default();
        let channels = busy.channels();
        let (finishing, is_finishing) = watch::channel(false);
        let (receiving, is_receiving) = watch::channel(false);
        let stopped = stop.clone();
        let counters = Arc::new(link.metrics().deliveries(&options.source.to_string()));
        let resubscriber = Resubscriber {
            link,
            options,
            counters,
            deliveries: sender,
            subscribed,
            finishing,
            busy,
            receiving,
            stop: stopped,
            has_only_changed: false,
        };
        let task = tokio::spawn(resubscriber.run());
        let (busy, receiving, finishing) = (channels, is_receiving, is_finishing);
        (Self { deliveries, busy, finishing, receiving, stop, task }, watched)
    }

    /// Whether the consumer subscribes again as soon as its deliveries were dropped, and nothing else is in the way: its
    /// connection was lost while its worker was busy, or it continues with another prefetch.
    pub(super) fn finishing(&self) -> watch::Receiver<bool> {
        self.finishing.clone()
    }

    /// How many channels of this consumer may have messages, or get some: none if it is not subscribed and all its
    /// deliveries were settled.
    pub fn busy_channels(&self) -> watch::Receiver<usize> {
        self.busy.clone()
    }

    /// Whether messages can still arrive, beyond those that [`Self::next`] returns at once.
    pub fn receiving(&self) -> watch::Receiver<bool> {
        self.receiving.clone()
    }

    /// The next message. `None` once the consumer was stopped and has no more received messages.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            let delivery = self.deliveries.recv().await?;
            if delivery.is_current() {
                return Some(delivery);
            }
        }
    }

    /// The next of the messages that were received already.
    pub fn next_received(&mut self) -> Option<Delivery> {
        while let Ok(delivery) = self.deliveries.try_recv() {
            if delivery.is_current() {
                return Some(delivery);
            }
        }
        None
    }

    /// Waits for a message, and adds it and others already received to `batch`, until the batch has
    /// `max_messages` or the bodies have `max_bytes` bytes. False once the consumer was stopped and has
    /// no more received messages.
    pub async fn next_batch(
        &mut self,
        batch: &mut Vec<Delivery>,
        max_messages: usize,
        max_bytes: usize,
    ) -> bool {
        let Some(first) = self.next().await else { return false };
        batch.push(first);
        self.add_received(batch, max_messages, max_bytes);
        true
    }

    /// Adds messages that were already received to `batch`, up to the same limits as [`Self::next_batch`].
    pub fn add_received(
        &mut self,
        batch: &mut Vec<Delivery>,
        max_messages: usize,
        max_bytes: usize,
    ) {
        let mut size: usize = batch.iter().map(|delivery| delivery.body.len()).sum();
        while batch.len() < max_messages
            && size < max_bytes
            && let Some(delivery) = self.next_received()
        {
            size += delivery.body.len();
            batch.push(delivery);
        }
    }

    /// Cancels the subscription. [`Self::next`] still returns messages that were received before.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Stops, requeues received messages that were not taken, and waits until the broker has read all
    /// settlements, for a second at most. All deliveries must have been dropped.
    pub async fn close(mut self) {
        self.stop.cancel();
        let closing = async {
            while let Some(delivery) = self.deliveries.recv().await {
                delivery.requeue();
            }
            let _ended = (&mut self.task).await;
        };
        let _in_time_or_not = timeout(CLOSE_TIMEOUT, closing).await;
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
