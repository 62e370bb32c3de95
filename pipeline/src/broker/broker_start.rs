//! Broker start: an id of the present start of the broker, which all programs of a virtual host agree on.
//!
//! It is the body of a transient message in a durable classic queue: the broker drops the message whenever it
//! restarts, cleanly or not. Only one program at a time can consume the queue exclusively, so there are never two
//! such messages. The queue is declared when it is needed for the first time, and only classic request queues need
//! it: after a crash their messages are all marked as redelivered.

use std::{sync::Arc, time::Duration};

use amqprs::{
    BasicProperties,
    channel::{
        BasicConsumeArguments, BasicPublishArguments, Channel, ConsumerMessage,
        QueueDeclareArguments,
    },
    error::Error,
};
use tokio::{
    sync::{Mutex, mpsc},
    time::{sleep, timeout},
};
use tracing::warn;
use uuid::Uuid;

use crate::broker::{
    error::AskError,
    link::Link,
    session::{OpenChannel, Session},
    wire,
};
use crate::topology::{
    names::BROKER_START,
    objects::{Argument, QueueType},
};

/// How long the message may take to arrive, if there is one.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait while another program reads the queue, or the broker is slow.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// How often the queue is tried.
const MAX_TRIES: usize = 25;

/// Reads the id of the broker's present start. Clones share what was read.
#[derive(Clone)]
pub struct BrokerStart {
    link: Link,
    /// The session on which it was read: a restart ends every session.
    known: Arc<Mutex<Option<(u64, String)>>>,
}

impl BrokerStart {
    pub(super) fn new(link: Link) -> Self {
        Self { link, known: Arc::default() }
    }

    /// The id of the present start. None if the broker refuses the queue, or can't be reached.
    pub async fn id(&self) -> Option<String> {
        let session = self.link.clone().ready().await?;
        let mut known = self.known.lock().await;
        if let Some((read_on, id)) = &*known
            && *read_on == session.id
        {
            return Some(id.clone());
        }
        let id = read_when_free(&session).await?;
        *known = Some((session.id, id.clone()));
        Some(id)
    }
}

async fn read_when_free(session: &Session) -> Option<String> {
    for _ in 0..MAX_TRIES {
        match read(session).await {
            Ok(id) => return Some(id),
            Err(AskError::Refused { code, text })
                if !(code == 403 && text.contains("exclusive")) =>
            {
                warn!(
                    queue = BROKER_START,
                    code, text, "can't tell crashes of the broker from deaths of workers"
                );
                return None;
            }
            // Another program reads it, or the broker is slow.
            Err(_) if !session.is_lost() => sleep(RETRY_INTERVAL).await,
            Err(_) => return None,
        }
    }
    None
}

async fn read(session: &Session) -> Result<String, AskError> {
    let open = session.open_channel().await?;
    session
        .run(async move {
            match read_or_publish(&open.channel).await {
                Ok(id) => {
                    let OpenChannel { channel, .. } = open;
                    // The message goes back to its queue with the channel.
                    let _closed_or_lost = channel.close().await;
                    id.ok_or(AskError::Lost)
                }
                Err(_) => Err(open.refusal().await),
            }
        })
        .await?
}

/// Consumes the queue exclusively, and publishes a new id if it is empty.
async fn read_or_publish(channel: &Channel) -> Result<Option<String>, Error> {
    let mut declare = QueueDeclareArguments::new(BROKER_START);
    let classic = [("x-queue-type", Argument::Text(QueueType::Classic.name()))];
    declare.durable(true).arguments(wire::arguments_to_wire(&classic));
    channel.queue_declare(declare).await?;
    let mut consume = BasicConsumeArguments::new(BROKER_START, "");
    let exclusive = consume.exclusive(true).finish();
    let (_, mut messages) = channel.basic_consume_rx(exclusive).await?;
    if let Some(id) = next_id(&mut messages).await {
        return Ok(Some(id));
    }
    let id = Uuid::now_v7().to_string();
    let transient = BasicProperties::default().with_delivery_mode(1).finish();
    let publish = BasicPublishArguments::new("", BROKER_START);
    channel.basic_publish(transient, id.into_bytes(), publish).await?;
    Ok(next_id(&mut messages).await)
}

async fn next_id(messages: &mut mpsc::UnboundedReceiver<ConsumerMessage>) -> Option<String> {
    let message = timeout(ARRIVAL_TIMEOUT, messages.recv()).await.ok()??;
    String::from_utf8(message.content?).ok()
}
