//! Resubscriber: subscribes a consumer again after each end of a subscription, until it is stopped.

use std::{
    future::pending,
    sync::{Arc, atomic::AtomicU64},
};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, error, warn};

use crate::broker::{
    broker_metrics::DeliveryCounters,
    consumer::{
        busy::Busy,
        delivery::Delivery,
        options::{ConsumerOptions, Source},
        prefetch_mode::{Ended, PrefetchMode},
        subscription::{Start, Subscription},
        unserved::ServiceCheck,
    },
    error::AskError,
    link::Link,
    session::Session,
    subscribe_gate::Pass,
};

/// Subscribes, and again whenever the subscription has ended.
pub(super) struct Resubscriber {
    pub(super) link: Link,
    pub(super) options: ConsumerOptions,
    pub(super) counters: Arc<DeliveryCounters>,
    pub(super) deliveries: mpsc::UnboundedSender<Delivery>,
    pub(super) subscribed: watch::Sender<bool>,
    /// Whether the consumer does not subscribe again yet, only because its worker is busy with a delivery, or is about to.
    pub(super) finishing: watch::Sender<bool>,
    /// Counts its channels.
    pub(super) busy: Busy,
    pub(super) receiving: watch::Sender<bool>,
    pub(super) stop: CancellationToken,
    /// Whether the last subscription ended only to continue on another channel.
    pub(super) has_only_changed: bool,
}

/// What follows an attempt to consume.
enum Next {
    /// Another attempt.
    AtOnce,
    /// Another attempt after a pause, since this one failed.
    Pause,
    /// The end: the consumer was stopped.
    Stop,
}

impl Resubscriber {
    /// Runs until `stop`, or until the link has ended.
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        let mut channel_backoff = self.options.source.channel_backoff();
        let mut mode = PrefetchMode::Full;
        while let Some(Some(session)) = stop.run_until_cancelled(self.ready()).await {
            // In this order, so that who forbids consuming and then sees no busy channel can rely on it.
            let busy = self.busy.begin();
            self.receiving.send_replace(true);
            let began = Instant::now();
            let next = self.subscribe(&session, &mut mode).await;
            if matches!(next, Next::Stop) {
                return;
            }
            self.receiving.send_replace(false);
            drop(busy);
            if matches!(next, Next::AtOnce) {
                continue;
            }
            self.finishing.send_replace(false);
            let pause = channel_backoff.pause(&self.link, &session, began.elapsed());
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    /// Subscribes once, and consumes until the subscription has ended and its deliveries were dropped, or taken by other workers.
    async fn subscribe(&mut self, session: &Arc<Session>, mode: &mut PrefetchMode) -> Next {
        if !self.options.is_allowed() {
            return Next::AtOnce;
        }
        let stop = self.stop.clone();
        let Some(pass) = stop.run_until_cancelled(self.pass(session)).await else {
            return Next::Stop;
        };
        if session.is_lost() {
            self.finishing.send_replace(false);
            return Next::AtOnce;
        }
        let options = self.options.of_now();
        let begin = Subscription::begin(session, &options, *mode, pass);
        match stop.run_until_cancelled(begin).await {
            None => Next::Stop,
            Some(Err(error)) => {
                self.log_failure(&error);
                Next::Pause
            }
            Some(Ok(subscription)) => {
                self.consume_to_end(subscription, options.prefetch, session, mode).await
            }
        }
    }

    async fn consume_to_end(
        &mut self,
        subscription: Subscription,
        prefetch: u16,
        session: &Arc<Session>,
        mode: &mut PrefetchMode,
    ) -> Next {
        let held = TaskTracker::new();
        held.close();
        let ended = self.consume(subscription, prefetch, session, &held).await;
        if self.stop.is_cancelled() {
            return Next::Stop;
        }
        let closed_by_broker = session.refusal().is_some();
        if matches!(ended, Ended::Lost) {
            self.link.gate().lost(session.id, closed_by_broker);
        }
        if matches!(ended, Ended::Cancelled) {
            self.link.note_cancel();
        }
        *mode = mode.after(&ended, closed_by_broker);
        self.log_end(&ended);
        // A worker that is still busy with a delivery gets no other.
        let finished = self.stop.run_until_cancelled(held.wait()).await;
        // One that goes on shows no gap until it is subscribed again.
        if !self.has_only_changed {
            self.finishing.send_replace(false);
        }
        match finished {
            None => Next::Stop,
            Some(()) if matches!(ended, Ended::Recovered | Ended::Stopped | Ended::Detached) => {
                Next::AtOnce
            }
            Some(()) => Next::Pause,
        }
    }

    /// Waits for a session and for the permission to consume.
    async fn ready(&mut self) -> Option<Arc<Session>> {
        let session = self.link.ready().await?;
        self.options.allowed().await;
        Some(session)
    }

    /// Waits until this consumer may subscribe. An exclusive queue is new and has no messages yet.
    async fn pass(&self, session: &Session) -> Option<Pass> {
        match self.options.source {
            Source::Shared(_) => tokio::select! {
                pass = self.link.gate().pass(session.id) => Some(pass),
                _ = session.lost() => None,
            },
            Source::Exclusive(_) => None,
        }
    }

    /// Consumes until the subscription ends, or is ended because consuming, or this prefetch, is forbidden or over.
    async fn consume(
        &mut self,
        subscription: Subscription,
        prefetch: u16,
        session: &Arc<Session>,
        held: &TaskTracker,
    ) -> Ended {
        match self.has_only_changed {
            true => {
                debug!(queue = %self.options.source, prefetch, "consuming on another channel")
            }
            false => self.options.source.log_begin(&self.options.worker),
        }
        self.subscribed.send_replace(true);
        self.finishing.send_replace(false);
        let received = Arc::<AtomicU64>::default();
        let unserved = self.until_unserved(session, held, &received);
        let until = self.stop.child_token();
        let running = subscription.run(Start {
            deliveries: self.deliveries.clone(),
            receiving: self.receiving.clone(),
            held: held.clone(),
            received,
            counters: self.counters.clone(),
            stop: until.clone(),
            busy: self.busy.clone(),
        });
        tokio::pin!(running);
        let ended = tokio::select! {
            ended = &mut running => ended,
            () = self.options.forbidden(prefetch) => {
                until.cancel();
                running.await
            }
            () = unserved => {
                until.cancel();
                match running.await {
                    Ended::Stopped => Ended::Unserved,
                    ended => ended,
                }
            }
        };
        // First, so that health shows no gap.
        self.finishing.send_replace(ended.is_harmless());
        self.subscribed.send_replace(false);
        self.receiving.send_replace(false);
        let goes_on = matches!(ended, Ended::Stopped | Ended::Detached);
        self.has_only_changed = goes_on && self.options.is_allowed();
        ended
    }

    /// Waits until the broker serves this subscription no more. An exclusive queue is declared anew for each subscription.
    fn until_unserved(
        &self,
        session: &Arc<Session>,
        held: &TaskTracker,
        received: &Arc<AtomicU64>,
    ) -> impl Future<Output = ()> + use<> {
        let check = match &self.options.source {
            Source::Shared(queue) => Some(ServiceCheck {
                session: session.clone(),
                queue: queue.clone(),
                waiting: self.link.waiting().clone(),
                received: received.clone(),
                held: held.clone(),
                subscribed: self.subscribed.clone(),
            }),
            Source::Exclusive(_) => None,
        };
        async {
            match check {
                Some(check) => check.until_unserved().await,
                None => pending().await,
            }
        }
    }

    fn log_end(&self, ended: &Ended) {
        if matches!(ended, Ended::Recovered | Ended::Stopped | Ended::Detached) {
            return debug!(queue = %self.options.source, "stopped consuming: {ended}");
        }
        let ConsumerOptions { source, worker, .. } = &self.options;
        warn!(queue = %source, worker, reason = ended.to_string(), "stopped consuming");
    }

    fn log_failure(&self, error: &AskError) {
        let ConsumerOptions { source, worker, .. } = &self.options;
        match error {
            AskError::NoChannelLeft { .. } => {
                error!(queue = %source, worker, "can't consume: {error}");
            }
            _ => warn!(queue = %source, worker, "can't consume: {error}"),
        }
    }
}
