use std::collections::{BTreeSet, HashSet};

use amqprs::channel::{
    BasicAckArguments, BasicCancelArguments, BasicConsumeArguments, BasicNackArguments,
    BasicQosArguments, Channel, ConsumerMessage,
};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    super::{
        AskError,
        session::{ChannelEvent, OpenChannel, Session},
        wire,
    },
    ConsumerOptions, Delivery,
    delivery::Settle,
};

/// One consumer on one channel, for as long as that lives.
pub(super) struct Subscription {
    channel: Channel,
    events: mpsc::UnboundedReceiver<ChannelEvent>,
    messages: mpsc::UnboundedReceiver<ConsumerMessage>,
    consumer_tag: String,
    /// What was delivered and not settled.
    outstanding: BTreeSet<u64>,
}

impl Subscription {
    /// Opens a channel and subscribes.
    pub(super) async fn begin(
        session: &Session,
        options: &ConsumerOptions,
    ) -> Result<Self, AskError> {
        let open = session.open_channel().await?;
        let options = options.clone();
        session
            .run(async move {
                let Ok((consumer_tag, messages)) = subscribe(&open.channel, &options).await else {
                    return Err(open.last_words().await);
                };
                let OpenChannel { channel, events } = open;
                Ok(Self { channel, events, messages, consumer_tag, outstanding: BTreeSet::new() })
            })
            .await?
    }

    /// Delivers and settles until the channel ends, the broker cancels the consumer, or `stop`.
    /// In the last two cases the channel stays until all deliveries were settled. Returns why.
    pub(super) async fn run(
        mut self,
        deliveries: mpsc::UnboundedSender<Delivery>,
        held: TaskTracker,
        stop: CancellationToken,
    ) -> String {
        let (settles, mut settled) = mpsc::unbounded_channel();
        let mut batch = Vec::with_capacity(256);
        let reason = loop {
            tokio::select! {
                biased;
                _ = settled.recv_many(&mut batch, 256) => self.settle(&mut batch).await,
                event = self.events.recv() => match event {
                    None => return "the connection was lost".to_owned(),
                    Some(ChannelEvent::Closed { code, text }) => return format!("the broker closed the channel: {code} {text}"),
                    Some(ChannelEvent::Cancelled) => break "the broker cancelled the consumer",
                    Some(_) => {}
                },
                () = stop.cancelled() => {
                    let cancel = BasicCancelArguments::new(&self.consumer_tag);
                    let _cancelled_or_lost = self.channel.basic_cancel(cancel).await;
                    break "stopped";
                }
                message = self.messages.recv() => match message {
                    None => break "the broker cancelled the consumer",
                    Some(message) => self.deliver(message, &deliveries, &settles, &held),
                },
            }
        };
        while let Ok(message) = self.messages.try_recv() {
            self.deliver(message, &deliveries, &settles, &held);
        }
        drop((deliveries, settles));
        self.finish(settled, batch).await;
        reason.to_owned()
    }

    /// Waits for the last delivery to be settled, and makes sure that the broker has heard of it.
    async fn finish(
        mut self,
        mut settled: mpsc::UnboundedReceiver<Settle>,
        mut batch: Vec<Settle>,
    ) {
        loop {
            tokio::select! {
                biased;
                count = settled.recv_many(&mut batch, 256) => match count {
                    0 => break,
                    _ => self.settle(&mut batch).await,
                },
                event = self.events.recv() => if matches!(event, None | Some(ChannelEvent::Closed { .. })) {
                    return;
                },
            }
        }
        // An answer to anything means that all before it was read.
        let _flushed_or_lost = self.channel.close().await;
    }

    fn deliver(
        &mut self,
        message: ConsumerMessage,
        deliveries: &mpsc::UnboundedSender<Delivery>,
        settles: &mpsc::UnboundedSender<Settle>,
        held: &TaskTracker,
    ) {
        let (Some(deliver), Some(properties), Some(body)) =
            (message.deliver, message.basic_properties, message.content)
        else {
            return;
        };
        let tag = deliver.delivery_tag();
        self.outstanding.insert(tag);
        let properties = wire::from_wire(&properties);
        let label = (tag, deliver.redelivered());
        let delivery = Delivery::new(label, properties, body, settles.clone(), held.token());
        // If nobody receives any more, its drop gives it back.
        let _ = deliveries.send(delivery);
    }

    async fn settle(&mut self, batch: &mut Vec<Settle>) {
        for frame in frames(&mut self.outstanding, batch.drain(..)) {
            // The messages of a lost channel go back by themselves.
            let _written_or_lost = match frame {
                Frame::Ack { tag, multiple } => {
                    self.channel.basic_ack(BasicAckArguments::new(tag, multiple)).await
                }
                Frame::Requeue { tag } => {
                    self.channel.basic_nack(BasicNackArguments::new(tag, false, true)).await
                }
            };
        }
    }
}

async fn subscribe(
    channel: &Channel,
    options: &ConsumerOptions,
) -> Result<(String, mpsc::UnboundedReceiver<ConsumerMessage>), amqprs::error::Error> {
    channel.basic_qos(BasicQosArguments::new(0, options.prefetch, false)).await?;
    let mut consume = BasicConsumeArguments::new(&options.queue, "");
    channel.basic_consume_rx(consume.manual_ack(true).finish()).await
}

#[derive(Debug, PartialEq, Eq)]
enum Frame {
    Ack { tag: u64, multiple: bool },
    Requeue { tag: u64 },
}

/// What to write for a batch of settlements: acks of the oldest outstanding messages become one.
fn frames(outstanding: &mut BTreeSet<u64>, batch: impl Iterator<Item = Settle>) -> Vec<Frame> {
    let mut acked = HashSet::new();
    let mut frames = Vec::new();
    for settle in batch {
        match settle {
            Settle::Ack(tag) => drop(acked.insert(tag)),
            Settle::Requeue(tag) => {
                outstanding.remove(&tag);
                frames.push(Frame::Requeue { tag });
            }
        }
    }
    let mut last = None;
    while let Some(first) = outstanding.first().copied().filter(|first| acked.remove(first)) {
        let multiple = last.is_some();
        outstanding.remove(&first);
        last = Some(Frame::Ack { tag: first, multiple });
    }
    frames.extend(last);
    for tag in acked {
        outstanding.remove(&tag);
        frames.push(Frame::Ack { tag, multiple: false });
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_of_the_oldest_become_one() {
        let mut outstanding = BTreeSet::from([1, 2, 3, 4, 5]);
        let batch = [Settle::Ack(2), Settle::Ack(1), Settle::Requeue(3), Settle::Ack(5)];
        let written = frames(&mut outstanding, batch.into_iter());
        let expected = [
            Frame::Requeue { tag: 3 },
            Frame::Ack { tag: 2, multiple: true },
            Frame::Ack { tag: 5, multiple: false },
        ];
        assert_eq!(written, expected);
        assert_eq!(outstanding, BTreeSet::from([4]));
    }

    #[test]
    fn one_ack_stays_one() {
        let mut outstanding = BTreeSet::from([7]);
        let written = frames(&mut outstanding, [Settle::Ack(7)].into_iter());
        assert_eq!(written, [Frame::Ack { tag: 7, multiple: false }]);
    }
}
