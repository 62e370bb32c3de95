//! A channel in confirm mode, and what the broker has confirmed of it.

use std::collections::VecDeque;

use amqprs::{
    Ack, BasicProperties, Cancel, CloseChannel, Nack, Return,
    callbacks::ChannelCallback,
    channel::{BasicPublishArguments, Channel, ConfirmSelectArguments},
    connection::Connection,
    error::Error,
};
use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::messages::Message;

/// Publishes on a channel of its own.
pub(crate) struct Publisher {
    channel: Channel,
    told: UnboundedReceiver<Told>,
    /// Whether each message was confirmed, from the oldest that was not.
    confirmed: VecDeque<bool>,
    /// The tag of the first of them.
    first: u64,
    unconfirmed: usize,
}

enum Told {
    Confirmed { tag: u64, multiple: bool },
    Refused,
}

impl Publisher {
    pub(crate) async fn open(connection: &Connection) -> Result<Self> {
        let channel = connection.open_channel(None).await?;
        let (tell, told) = unbounded_channel();
        channel.register_callback(Watch(tell)).await?;
        channel.confirm_select(ConfirmSelectArguments::new(false)).await?;
        Ok(Self { channel, told, confirmed: VecDeque::new(), first: 1, unconfirmed: 0 })
    }

    /// Publishes what `next` gives until it gives none, with at most `window` unconfirmed. `next` is told how many were
    /// confirmed so far.
    pub(crate) async fn flood(
        &mut self,
        window: usize,
        mut next: impl FnMut(usize) -> Option<Message>,
    ) -> Result<()> {
        let mut confirmed = 0;
        loop {
            while self.unconfirmed < window
                && let Some(message) = next(confirmed)
            {
                self.publish(message).await?;
            }
            if self.unconfirmed == 0 {
                return Ok(());
            }
            confirmed += self.confirms().await?;
        }
    }

    /// Publishes a message and does not wait for its confirm.
    pub(crate) async fn publish(&mut self, message: Message) -> Result<()> {
        let Message { key, properties, body } = message;
        let mut arguments = BasicPublishArguments::new("processing", key);
        let arguments = arguments.mandatory(true).finish();
        self.channel.basic_publish(properties, body, arguments).await?;
        self.confirmed.push_back(false);
        self.unconfirmed += 1;
        Ok(())
    }

    /// Waits for confirms, takes all that are there, and gives how many messages they are for.
    pub(crate) async fn confirms(&mut self) -> Result<usize> {
        let before = self.unconfirmed;
        let mut told = Some(self.told.recv().await.context("the connection was lost")?);
        while let Some(one) = told {
            self.note(one)?;
            told = self.told.try_recv().ok();
        }
        Ok(before - self.unconfirmed)
    }

    fn note(&mut self, told: Told) -> Result<()> {
        let Told::Confirmed { tag, multiple } = told else {
            anyhow::bail!("the broker refused a message; is the topology declared?");
        };
        let at = usize::try_from(tag.saturating_sub(self.first))?;
        ensure!(at < self.confirmed.len(), "a confirm of nothing");
        let from = if multiple { 0 } else { at };
        for confirmed in self.confirmed.range_mut(from..=at) {
            self.unconfirmed -= usize::from(!*confirmed);
            *confirmed = true;
        }
        while self.confirmed.front() == Some(&true) {
            self.confirmed.pop_front();
            self.first += 1;
        }
        Ok(())
    }
}

struct Watch(UnboundedSender<Told>);

#[async_trait]
impl ChannelCallback for Watch {
    async fn close(&mut self, _: &Channel, _: CloseChannel) -> Result<(), Error> {
        let _ = self.0.send(Told::Refused);
        Ok(())
    }
    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), Error> {
        Ok(())
    }
    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, Error> {
        Ok(active)
    }
    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        let (tag, multiple) = (ack.delivery_tag(), ack.mutiple());
        let _ = self.0.send(Told::Confirmed { tag, multiple });
    }
    async fn publish_nack(&mut self, _: &Channel, _: Nack) {
        let _ = self.0.send(Told::Refused);
    }
    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {
        let _ = self.0.send(Told::Refused);
    }
}
