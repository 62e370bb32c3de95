//! A foreign AMQP client: what programs written by others would send and see. It shares no code with the services.

mod flood;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
pub use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions,
        BasicQosOptions, ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions,
        QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
    },
};
pub use lapin::{
    BasicProperties as Properties, ExchangeKind,
    options::{BasicNackOptions as NackOptions, BasicRejectOptions as RejectOptions},
    types,
};

use crate::process::WAIT_TIMEOUT;

/// RabbitMQ calls a quorum queue empty that has not told its numbers in this time.
const TIME_TO_COUNT: Duration = Duration::from_millis(250);
/// How often a queue is asked that has not told them.
const COUNT_ATTEMPTS: usize = 40;

/// A connection with one channel in confirm mode.
#[derive(Debug)]
pub struct Foreign {
    connection: Connection,
    channel: Channel,
}

/// A message as the broker delivered it.
#[derive(Debug, Clone)]
pub struct Message {
    /// The exchange it was published to.
    pub exchange: String,
    /// Its routing key.
    pub key: String,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// All its properties, headers among them.
    pub properties: BasicProperties,
    /// Its body, byte by byte.
    pub body: Vec<u8>,
}

/// What a passive declare tells of a queue: exact, and at once, if the queue answers the broker in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Messages that wait; those delivered and not yet acked are not among them.
    pub messages: u32,
    /// Its consumers.
    pub consumers: u32,
}

impl Foreign {
    /// Connects and opens the channel.
    pub async fn connect(url: &str) -> Result<Self> {
        let connecting = Connection::connect(url, ConnectionProperties::default());
        let connection = tokio::time::timeout(WAIT_TIMEOUT, connecting)
            .await
            .context("no connection in time")??;
        let channel = confirming_channel(&connection).await?;
        Ok(Self { connection, channel })
    }

    /// Closes the channel and opens another one; what was delivered on it and not settled goes back.
    pub async fn replace_channel(&mut self) -> Result<()> {
        self.close_channel().await?;
        self.channel = confirming_channel(&self.connection).await?;
        Ok(())
    }

    /// Declares a durable queue with arguments.
    pub async fn declare_queue(&self, name: &str, arguments: FieldTable) -> Result<()> {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(name.into(), options, arguments).await?;
        Ok(())
    }

    /// Declares a durable exchange.
    pub async fn declare_exchange(&self, name: &str, kind: ExchangeKind) -> Result<()> {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        Ok(self.channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await?)
    }

    /// Binds a queue to an exchange.
    pub async fn bind(&self, queue: &str, exchange: &str, key: &str) -> Result<()> {
        let options = QueueBindOptions::default();
        Ok(self
            .channel
            .queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default())
            .await?)
    }

    /// Removes a binding.
    pub async fn unbind(&self, queue: &str, exchange: &str, key: &str) -> Result<()> {
        let arguments = FieldTable::default();
        Ok(self.channel.queue_unbind(queue.into(), exchange.into(), key.into(), arguments).await?)
    }

    /// Deletes an exchange with all its bindings.
    pub async fn delete_exchange(&self, name: &str) -> Result<()> {
        Ok(self.channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await?)
    }

    /// Starts to consume what is published to an exchange from now on, on a queue that goes with the connection.
    pub async fn listen(&self, exchange: &str, key: &str) -> Result<Messages> {
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let queue = self.channel.queue_declare("".into(), options, FieldTable::default()).await?;
        let name = queue.name().to_string();
        self.bind(&name, exchange, key).await?;
        self.consume(&name, 100).await
    }

    /// Publishes one message and waits for its confirm; fails if it was returned or refused.
    pub async fn publish(
        &self,
        exchange: &str,
        key: &str,
        properties: BasicProperties,
        body: &[u8],
    ) -> Result<()> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let confirm = self
            .channel
            .basic_publish(exchange.into(), key.into(), options, body, properties)
            .await?;
        match tokio::time::timeout(WAIT_TIMEOUT, confirm).await.context("no confirm in time")?? {
            Confirmation::Ack(None) => Ok(()),
            other => bail!("publishing to {exchange:?} with key {key:?} ended with {other:?}"),
        }
    }

    /// Takes one message if one waits, and acks it.
    pub async fn get(&self, queue: &str) -> Result<Option<Message>> {
        let Some(message) =
            self.channel.basic_get(queue.into(), BasicGetOptions::default()).await?
        else {
            return Ok(None);
        };
        message.delivery.ack(BasicAckOptions::default()).await?;
        Ok(Some(message.delivery.into()))
    }

    /// Starts to consume with this prefetch; messages come by [`Messages::next`].
    pub async fn consume(&self, queue: &str, prefetch: u16) -> Result<Messages> {
        self.channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let consumer = self
            .channel
            .basic_consume(queue.into(), "".into(), options, FieldTable::default())
            .await?;
        Ok(Messages { consumer })
    }

    /// Waits for one message of a queue, acks it, and stops consuming.
    pub async fn next(&self, queue: &str) -> Result<Message> {
        let mut messages = self.consume(queue, 1).await?;
        let message = messages.next().await?;
        let tag = messages.consumer.tag();
        self.channel.basic_cancel(tag, lapin::options::BasicCancelOptions::default()).await?;
        Ok(message)
    }

    /// How many messages and consumers a queue has; fails, and closes the channel, if there is no such queue.
    pub async fn depth(&self, queue: &str) -> Result<Depth> {
        for _ in 0..COUNT_ATTEMPTS {
            let (depth, took) = self.count(queue).await?;
            if depth.messages > 0 || depth.consumers > 0 || took < TIME_TO_COUNT {
                return Ok(depth);
            }
        }
        bail!("{queue} does not tell the broker its numbers in time")
    }

    /// How much that is, and how long it took to be told.
    async fn count(&self, queue: &str) -> Result<(Depth, Duration)> {
        // A channel of its own: a queue that is missing costs the channel that asks.
        let channel = self.connection.create_channel().await?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asked = Instant::now();
        let queue = channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
        let took = asked.elapsed();
        let depth = Depth { messages: queue.message_count(), consumers: queue.consumer_count() };
        channel.close(200, "done".into()).await?;
        Ok((depth, took))
    }

    /// Removes all waiting messages of a queue.
    pub async fn purge(&self, queue: &str) -> Result<()> {
        self.channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await?;
        Ok(())
    }

    /// Closes the channel; what was delivered on it and not settled goes back.
    pub async fn close_channel(&self) -> Result<()> {
        Ok(self.channel.close(200, "done".into()).await?)
    }

    /// Deletes a queue, under its consumers if it has any.
    pub async fn delete_queue(&self, queue: &str) -> Result<()> {
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        Ok(())
    }
}

async fn confirming_channel(connection: &Connection) -> Result<Channel> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// The messages of one consumer.
#[derive(Debug)]
pub struct Messages {
    consumer: Consumer,
}

impl Messages {
    /// Waits for the next message and acks it.
    pub async fn next(&mut self) -> Result<Message> {
        let delivery = self.next_unacked().await?;
        delivery.ack(BasicAckOptions::default()).await?;
        Ok(delivery.into())
    }

    /// Waits for the next message and leaves the settling to the caller.
    pub async fn next_unacked(&mut self) -> Result<Delivery> {
        let next = tokio::time::timeout(WAIT_TIMEOUT, self.consumer.next())
            .await
            .context("no message in time")?;
        Ok(next.context("the consumer was cancelled")??)
    }

    /// Whether no message comes within `quiet`. To be used only where nothing but time can show it.
    pub async fn silent_for(&mut self, quiet: Duration) -> bool {
        tokio::time::timeout(quiet, self.consumer.next()).await.is_err()
    }
}

impl From<Delivery> for Message {
    fn from(delivery: Delivery) -> Self {
        Self {
            exchange: delivery.exchange.to_string(),
            key: delivery.routing_key.to_string(),
            redelivered: delivery.redelivered,
            properties: delivery.properties,
            body: delivery.data.to_vec(),
        }
    }
}

impl Message {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }

    /// A header as text; numbers are written out.
    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.properties.headers().as_ref()?.inner().get(name)?;
        Some(match value {
            AMQPValue::LongString(text) => text.to_string(),
            AMQPValue::ShortString(text) => text.to_string(),
            AMQPValue::LongLongInt(number) => number.to_string(),
            AMQPValue::LongInt(number) => number.to_string(),
            AMQPValue::ShortInt(number) => number.to_string(),
            AMQPValue::LongUInt(number) => number.to_string(),
            other => format!("{other:?}"),
        })
    }
}

/// The properties of a message that survives a restart of the broker (delivery mode 2).
pub fn persistent() -> Properties {
    Properties::default().with_delivery_mode(2)
}

/// Arguments for [`Foreign::declare_queue`]: `arguments([("x-queue-type", AMQPValue::LongString("quorum".into()))])`.
pub fn arguments<const N: usize>(values: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in values {
        table.insert(name.into(), value);
    }
    table
}
