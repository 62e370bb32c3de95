//! Subscription: one AMQP consumer on one channel, which delivers messages and sends settlements.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use amqprs::channel::{
    BasicAckArguments, BasicCancelArguments, BasicNackArguments, BasicQosArguments, ConsumerMessage,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::broker::{
    broker_metrics::DeliveryCounters,
    consumer::{
        begin::{qos, subscribe},
        busy::Busy,
        delivery::{Delivery, DeliveryWatch, Settle, Ties},
        exclusive_queue::{self, DeclaredQueue},
        gathered_settlements::GatheredSettlements,
        options::ConsumerOptions,
        prefetch_mode::{Ended, PrefetchMode},
        quiesce::quiesce_time,
        rest::Rest,
        settlement_frames::{Frame, frames},
    },
    error::AskError,
    session::{OpenChannel, Session, SessionChannel, SpareChannels, watch::ChannelEvent},
    subscribe_gate::Pass,
    wire,
};
use crate::topology::ack_timeout::ack_timeout_cancels;

/// A subscription that waits for its start.
///
/// Received messages stay on the session's thread until their headers are decoded: only its stack is
/// large enough to decode and drop deeply nested ones. So the application has this handle alone, and
/// if it drops the handle, the session's thread drops the subscription.
pub(super) struct Subscription {
    start: oneshot::Sender<Start>,
    task: JoinHandle<Ended>,
}

/// What a subscription is started with.
pub(super) struct Start {
    /// Gets what is received.
    pub(super) deliveries: mpsc::UnboundedSender<Delivery>,
    /// Set to false once nothing more can be received.
    pub(super) receiving: watch::Sender<bool>,
    /// Counts the deliveries that were not dropped yet.
    pub(super) held: TaskTracker,
    /// Counts the messages that were received.
    pub(super) received: Arc<AtomicU64>,
    /// Counts deliveries and settlements.
    pub(super) counters: Arc<DeliveryCounters>,
    /// Ends the subscription.
    pub(super) stop: CancellationToken,
    /// Counts the channels that may have messages.
    pub(super) busy: Busy,
}

impl Subscription {
    /// Opens a channel and subscribes.
    pub(super) async fn begin(
        session: &Session,
        options: &ConsumerOptions,
        mode: PrefetchMode,
        pass: Option<Pass>,
    ) -> Result<Self, AskError> {
        let open = session.open_channel().await?;
        let (tasks, spare_channels) = (session.tasks(), session.spare_channels());
        let release = session.version.as_deref().unwrap_or_default();
        let timeouts_cancel = ack_timeout_cancels(release).unwrap_or(true);
        let mut options = options.clone();
        // With a prefetch of one, both modes are the same.
        let cautious = mode == PrefetchMode::Single && options.prefetch > 1;
        let caution = cautious.then_some(usize::from(options.prefetch));
        if cautious {
            options.prefetch = 1;
        }
        session
            .run(async move {
                let Ok((own, (consumer_tag, messages))) = subscribe(&open.channel, &options).await
                else {
                    return Err(open.refusal().await);
                };
                let OpenChannel { channel, events } = open;
                let subscribed = Subscribed {
                    channel,
                    events,
                    messages,
                    consumer_tag,
                    qos: qos(&options),
                    own,
                    received: Arc::default(),
                    outstanding: BTreeMap::new(),
                    detached: BTreeSet::new(),
                    tasks: tasks.clone(),
                    spare_channels,
                    timeouts_cancel,
                    pass,
                    caution,
                    gathered: GatheredSettlements::new(&options),
                };
                let (start, started) = oneshot::channel();
                Ok(Self { start, task: tasks.spawn(subscribed.run(started)) })
            })
            .await?
    }

    /// Delivers and settles until the channel ends, the broker cancels the consumer, [`Start::stop`], the end of single
    /// mode, or until other workers have all that the broker may send. Then the channel stays until all deliveries were
    /// settled, unless it has ended; this does not wait for those that other workers have.
    pub(super) async fn run(self, start: Start) -> Ended {
        // If the task has ended, its session was lost.
        let _started_or_lost = self.start.send(start);
        self.task.await.unwrap_or(Ended::Lost)
    }
}

/// One consumer on one channel, for as long as that lives. It stays on the session's thread.
struct Subscribed {
    channel: SessionChannel,
    events: mpsc::UnboundedReceiver<ChannelEvent>,
    messages: mpsc::UnboundedReceiver<ConsumerMessage>,
    consumer_tag: String,
    qos: BasicQosArguments,
    /// The queue, if it is exclusive.
    own: Option<DeclaredQueue>,
    /// Counts what was delivered.
    received: Arc<AtomicU64>,
    /// What was delivered and not settled, and when it was delivered.
    outstanding: BTreeMap<u64, Instant>,
    /// Those of them that other workers have.
    detached: BTreeSet<u64>,
    /// The tasks on the session's thread.
    tasks: TaskTracker,
    /// Whether channels are left on the connection.
    spare_channels: SpareChannels,
    /// Whether the broker cancels a consumer when the acknowledgement timeout is over.
    timeouts_cancel: bool,
    /// The permission to subscribe, which counts received and settled messages.
    pass: Option<Pass>,
    /// In single mode: after how many more settlements the subscription ends, for a full one.
    caution: Option<usize>,
    /// What is to be settled and was not yet.
    gathered: GatheredSettlements,
}

impl Subscribed {
    /// Waits for the start, then does what [`Subscription::run`] says.
    async fn run(mut self, started: oneshot::Receiver<Start>) -> Ended {
        let Ok(start) = started.await else { return Ended::Stopped };
        let Start { deliveries, receiving, held, received, counters, stop, busy } = start;
        self.received = received;
        let (settles, mut settled) = mpsc::unbounded_channel();
        let spare_channels = self.spare_channels.clone();
        let watch = DeliveryWatch::default();
        let ties = Ties { settles, watch: watch.clone(), held, counters, spare_channels };
        let (ties, revoked) = (Arc::new(ties), watch.revoke_on_drop());
        let ended = self.deliver_and_settle(&deliveries, &ties, &mut settled, &stop).await;
        if ended.is_timeout(self.oldest()) {
            watch.time_out();
        }
        if matches!(ended, Ended::Lost | Ended::Closed(_)) {
            return ended;
        }
        while let Ok(message) = self.messages.try_recv() {
            self.deliver(message, &deliveries, &ties);
        }
        receiving.send_replace(false);
        drop((deliveries, ties));
        // If the program has ended it, unsettled deliveries stay valid until the channel ends.
        let revoked = Some(revoked).filter(|_| !matches!(ended, Ended::Cancelled));
        let rest = Rest { settled, watch, revoked };
        if let Some(rest) = self.finish(rest, Subscribed::has_others).await {
            self.pass = None;
            let busy = busy.begin();
            let tasks = self.tasks.clone();
            tasks.spawn(async move {
                self.finish(rest, |_| true).await;
                drop(busy);
            });
        }
        ended
    }

    /// Delivers messages and sends settlements, until one of the ends that [`Subscription::run`] names.
    async fn deliver_and_settle(
        &mut self,
        deliveries: &mpsc::UnboundedSender<Delivery>,
        ties: &Arc<Ties>,
        settled: &mut mpsc::UnboundedReceiver<Settle>,
        stop: &CancellationToken,
    ) -> Ended {
        let mut tick = exclusive_queue::bind_again_ticks();
        loop {
            let is_full = self.is_full();
            tokio::select! {
                biased;
                count = self.gathered.next(settled, is_full) => {
                    let is_over = self.caution_is_over(count);
                    if is_over {
                        // Before the ack: no message is on its way yet.
                        self.cancel().await;
                    }
                    self.settle().await;
                    if is_over {
                        return Ended::Recovered;
                    }
                }
                event = self.events.recv() => if let Some(ended) = Ended::by(event) {
                    return ended;
                },
                () = stop.cancelled() => {
                    self.settle().await;
                    self.quiesce(deliveries, ties).await;
                    self.cancel().await;
                    return Ended::Stopped;
                }
                // Before that it is the one whose message is in danger.
                () = followed(self.pass.as_ref()), if is_full && !self.has_others() => {
                    self.cancel().await;
                    return Ended::Detached;
                }
                _ = tick.tick(), if self.own.is_some() => self.bind_again().await,
                message = self.messages.recv() => match message {
                    None => return Ended::Cancelled,
                    Some(message) => self.deliver(message, deliveries, ties),
                },
            }
        }
    }

    fn caution_is_over(&mut self, settled: usize) -> bool {
        let Some(left) = &mut self.caution else { return false };
        *left = left.saturating_sub(settled);
        *left == 0
    }

    /// Binds an exclusive queue again. If an exchange is missing, the broker closes the channel, and
    /// the topology is repaired before the next subscription.
    async fn bind_again(&self) {
        if let Some(own) = &self.own {
            let _bound_or_closed = exclusive_queue::bind(&self.channel, own).await;
        }
    }

    /// Waits until no message is on its way, as far as that can be known: until as many are unsettled as may be, or for
    /// a moment, or longer if the broker is slow. Nothing is settled meanwhile. RabbitMQ sends some messages after it has confirmed the cancel, and the client drops those: they
    /// would come again as redelivered, and count as a death of their worker.
    async fn quiesce(&mut self, deliveries: &mpsc::UnboundedSender<Delivery>, ties: &Arc<Ties>) {
        if self.is_full() {
            return;
        }
        // The broker's answer means that it has read all settlements before.
        let asked = Instant::now();
        let _answered_or_lost = self.channel.basic_qos(self.qos.clone()).await;
        let quiet_at = Instant::now() + quiesce_time(asked.elapsed());
        while !self.is_full()
            && let Ok(Some(message)) = timeout_at(quiet_at, self.messages.recv()).await
        {
            self.deliver(message, deliveries, ties);
        }
    }

    /// Whether the broker may send no other message before one is settled.
    fn is_full(&self) -> bool {
        self.outstanding.len() >= usize::from(self.qos.prefetch_count)
    }

    async fn cancel(&self) {
        let cancel = BasicCancelArguments::new(&self.consumer_tag);
        let _cancelled_or_lost = self.channel.basic_cancel(cancel).await;
    }

    /// How long ago that was delivered which is not settled for the longest time, if the broker may cancel a consumer for it.
    fn oldest(&self) -> Option<Duration> {
        let oldest = self.outstanding.values().next().map(Instant::elapsed);
        oldest.filter(|_| self.timeouts_cancel)
    }

    /// Whether something is not settled that no other worker has.
    fn has_others(&self) -> bool {
        self.outstanding.len() > self.detached.len()
    }

    /// Waits until all deliveries were settled and the broker has read the settlements, or until the channel has ended, and
    /// returns None then. Returns what is left as soon as it need not be waited for.
    async fn finish(
        &mut self,
        mut rest: Rest,
        is_waited_for: impl Fn(&Self) -> bool,
    ) -> Option<Rest> {
        loop {
            if !self.outstanding.is_empty() && !is_waited_for(self) {
                return Some(rest);
            }
            tokio::select! {
                biased;
                count = self.gathered.next(&mut rest.settled, true) => match count {
                    0 => break,
                    _ => self.settle().await,
                },
                event = self.events.recv() => if let Some(ended) = Ended::by(event) {
                    rest.taken_back(&ended, self.oldest());
                    if !matches!(ended, Ended::Cancelled) {
                        return None;
                    }
                }
            }
        }
        // The broker's answer means that it has read everything before.
        let _flushed_or_lost = self.channel.clone().close().await;
        None
    }

    fn deliver(
        &mut self,
        message: ConsumerMessage,
        deliveries: &mpsc::UnboundedSender<Delivery>,
        ties: &Arc<Ties>,
    ) {
        let (Some(deliver), Some(properties), Some(body)) =
            (message.deliver, message.basic_properties, message.content)
        else {
            return;
        };
        self.received.fetch_add(1, Ordering::Relaxed);
        self.outstanding.insert(deliver.delivery_tag(), Instant::now());
        if let Some(pass) = &self.pass {
            pass.received();
        }
        let delivery = Delivery::new(&deliver, wire::from_wire(&properties), body, ties.clone());
        // If the consumer was dropped, so is the delivery, which requeues it.
        let _ = deliveries.send(delivery);
    }

    /// Writes the settlements that have come.
    async fn settle(&mut self) {
        let (mut waiting, before) = (Vec::new(), self.outstanding.len());
        let messages = self.gathered.drain().filter_map(|settle| match settle {
            Settle::Flush(flushed) => {
                waiting.push(flushed);
                None
            }
            Settle::Detach(tag) => {
                self.detached.insert(tag);
                None
            }
            settle => Some(settle),
        });
        let frames = frames(&mut self.outstanding, messages);
        self.detached.retain(|tag| self.outstanding.contains_key(tag));
        for frame in frames {
            // The broker requeues the messages of a lost channel.
            let _written_or_lost = match frame {
                Frame::Ack { tag, multiple } => {
                    self.channel.basic_ack(BasicAckArguments::new(tag, multiple)).await
                }
                Frame::Requeue { tag } => {
                    self.channel.basic_nack(BasicNackArguments::new(tag, false, true)).await
                }
            };
        }
        if let Some(pass) = &self.pass {
            pass.settled(before - self.outstanding.len());
        }
        if !waiting.is_empty() {
            // The broker's answer means that it has read everything before. The same QoS changes nothing.
            let _answered_or_lost = self.channel.basic_qos(self.qos.clone()).await;
            for flushed in waiting {
                let _waited_for_or_not = flushed.send(());
            }
        }
    }
}

/// Waits until this consumer is not alone, if it was the first.
async fn followed(pass: Option<&Pass>) {
    if let Some(pass) = pass {
        pass.followed().await;
    }
}
