//! Begin: what a subscription asks of the broker before its first message.

use amqprs::{
    channel::{BasicConsumeArguments, BasicQosArguments, Channel, ConsumerMessage},
    error::Error,
};
use tokio::sync::mpsc;

use crate::broker::consumer::{
    exclusive_queue::{self, DeclaredQueue},
    options::{ConsumerOptions, Source},
};

/// How many messages the broker may send ahead.
pub(super) fn qos(options: &ConsumerOptions) -> BasicQosArguments {
    BasicQosArguments::new(0, options.prefetch, false)
}

/// A consumer's tag and its messages.
pub(super) type Consuming = (String, mpsc::UnboundedReceiver<ConsumerMessage>);

/// Declares the queue, if it is exclusive, and subscribes to it.
pub(super) async fn subscribe(
    channel: &Channel,
    options: &ConsumerOptions,
) -> Result<(Option<DeclaredQueue>, Consuming), Error> {
    let (own, queue) = match &options.source {
        Source::Shared(queue) => (None, queue.clone()),
        Source::Exclusive(queue) => {
            let own = exclusive_queue::declare(channel, queue).await?;
            let queue = own.name.clone();
            (Some(own), queue)
        }
    };
    channel.basic_qos(qos(options)).await?;
    let mut consume = BasicConsumeArguments::new(&queue, "");
    Ok((own, channel.basic_consume_rx(consume.manual_ack(true).finish()).await?))
}
