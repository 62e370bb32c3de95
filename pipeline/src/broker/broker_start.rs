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
    time::{Instant, sleep, timeout},
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
/// How long it stays unknown after all tries were in vain.
const UNKNOWN_TIME: Duration = Duration::from_secs(10);
/// The same after a refusal that may pass. Each closes a channel, of which a connection has few.
const REFUSED_TIME: Duration = Duration::from_secs(60);

/// Reads the id of the broker's present start. Clones share what was read.
#[derive(Clone)]
pub struct BrokerStart {
    link: Link,
    known: Arc<Mutex<Option<Known>>>,
}

/// What came of reading the id.
struct Known {
    /// The session on which it was read: a restart of the broker ends every session.
    session: u64,
    /// How many consumers had been cancelled before: a restart of another node of a cluster than that of the connection
    /// ends no session, and cancels the consumers of its queues.
    cancels: u64,
    outcome: Outcome,
}

enum Outcome {
    Id(String),
    /// The user may not use the queue.
    Refused,
    /// Another program had the queue, or the broker was slow or could not serve it. It can be tried again from this time on.
    Unknown {
        again_at: Instant,
    },
}

impl Outcome {
    fn unknown_for(time: Duration) -> Self {
        Self::Unknown { again_at: Instant::now() + time }
    }
}

impl Known {
    /// Whether there is no need to read it again. What failed counts too: each attempt closes a channel or takes seconds,
    /// and each redelivered message asks.
    fn holds(&self, session: u64, cancels: u64, now: Instant) -> bool {
        let is_current = match self.outcome {
            Outcome::Id(_) => self.cancels == cancels,
            Outcome::Refused => true,
            Outcome::Unknown { again_at } => now < again_at,
        };
        self.session == session && is_current
    }

    fn id(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Id(id) => Some(id.clone()),
            Outcome::Refused | Outcome::Unknown { .. } => None,
        }
    }
}

impl BrokerStart {
    pub(super) fn new(link: Link) -> Self {
        Self { link, known: Arc::default() }
    }

    /// The id of the present start. None if the broker refuses the queue, or can't be reached.
    pub async fn id(&self) -> Option<String> {
        let session = self.link.clone().ready().await?;
        let mut known = self.known.lock().await;
        let cancels = self.link.cancels();
        if let Some(known) = known.as_ref()
            && known.holds(session.id, cancels, Instant::now())
        {
            return known.id();
        }
        let outcome = read_when_free(&session).await;
        known.insert(Known { session: session.id, cancels, outcome }).id()
    }
}

async fn read_when_free(session: &Session) -> Outcome {
    for _ in 0..MAX_TRIES {
        match read(session).await {
            Ok(id) => return Outcome::Id(id),
            Err(AskError::Refused { code, text })
                if !(code == 403 && text.contains("exclusive")) =>
            {
                warn!(
                    queue = BROKER_START,
                    code, text, "can't tell crashes of the broker from deaths of workers"
                );
                return refused(code);
            }
            // Another program reads it, or the broker is slow.
            Err(_) if !session.is_lost() => sleep(RETRY_INTERVAL).await,
            Err(_) => break,
        }
    }
    Outcome::unknown_for(UNKNOWN_TIME)
}

/// The outcome of a refusal. Permissions last; other reasons may pass, as when the node of the queue is down.
fn refused(code: u16) -> Outcome {
    match code {
        403 => Outcome::Refused,
        _ => Outcome::unknown_for(REFUSED_TIME),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_remembered_and_not_tried_again_for_each_message() {
        let now = Instant::now();
        let known = |outcome| Known { session: 1, cancels: 0, outcome };
        let forbidden = known(refused(403));
        assert!(forbidden.holds(1, 9, now + 2 * REFUSED_TIME) && forbidden.id().is_none());
        assert!(!forbidden.holds(2, 0, now), "another connection may have the permission");
        let of_node = known(refused(404));
        assert!(of_node.holds(1, 0, now) && !of_node.holds(1, 0, now + 2 * REFUSED_TIME));
        let unknown = known(Outcome::Unknown { again_at: now + UNKNOWN_TIME });
        assert!(unknown.holds(1, 0, now) && unknown.id().is_none());
        assert!(!unknown.holds(1, 0, now + UNKNOWN_TIME));
        let read = known(Outcome::Id("a".to_owned()));
        assert_eq!(read.id().as_deref(), Some("a"));
        assert!(read.holds(1, 0, now) && !read.holds(1, 1, now), "a node may have been restarted");
    }
}
