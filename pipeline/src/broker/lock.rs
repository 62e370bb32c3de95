//! An exclusive queue as a lock: who has declared it keeps others from doing so, as long as its
//! connection lives.

use std::time::Duration;

use amqprs::channel::{
    BasicConsumeArguments, BasicQosArguments, Channel, ConsumerMessage, QueueDeclareArguments,
    QueueDeleteArguments,
};
use backon::{BackoffBuilder, ConstantBackoff, ConstantBuilder};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::broker::{
    error::AskError,
    link::Link,
    session::{OpenChannel, Session, watch::ChannelEvent},
    wire,
};
use crate::topology;

/// The shortest time between two attempts; with jitter it is up to twice as long.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(1400);
/// How long the end of a lock may take.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait before trying again what a person has to allow.
const SELDOM: Duration = Duration::from_secs(60);

/// What the broker answers who may not declare a queue of this name (`ACCESS_REFUSED`),
const NOT_ALLOWED: u16 = 403;
/// and who wants a queue that is another connection's own (`RESOURCE_LOCKED`).
const LOCKED: u16 = 405;

/// How a lock is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockState {
    /// Not asked for yet, or lost, and why.
    Waiting(String),
    /// Somebody else's.
    Taken,
    /// Ours. A broker that we are cut off from may give it to another before we know.
    Held,
    /// The broker's user may not declare the queue that is the lock, so nobody can tell whose it is.
    NotAllowed(String),
}

impl LockState {
    /// Whether to go on: it is ours, or this user may not ask for it.
    pub fn is_free_to_go(&self) -> bool {
        !matches!(self, Self::Waiting(_) | Self::Taken)
    }
}

/// A lock that is tried for until it is ours, lost with the connection, and tried for again.
pub struct Lock {
    state: watch::Receiver<LockState>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Lock {
    /// Begins to try and returns at once.
    pub(super) fn start(link: Link, queue: &str) -> Self {
        let (sender, state) = watch::channel(LockState::Waiting("not connected yet".to_owned()));
        let stop = CancellationToken::new();
        let keeper = Keeper { queue: queue.to_owned(), state: sender, stop: stop.clone() };
        Self { state, stop, task: tokio::spawn(keeper.run(link)) }
    }

    /// How it is, now and from now on.
    pub fn state(&self) -> watch::Receiver<LockState> {
        self.state.clone()
    }

    /// Gives it up, for others to take at once.
    pub async fn release(mut self) {
        self.stop.cancel();
        let _in_time_or_not = timeout(RELEASE_TIMEOUT, &mut self.task).await;
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Keeper {
    queue: String,
    state: watch::Sender<LockState>,
    stop: CancellationToken,
}

impl Keeper {
    async fn run(self, mut link: Link) {
        let mut pauses = pauses();
        loop {
            let session = tokio::select! {
                () = self.stop.cancelled() => return,
                session = link.ready() => match session {
                    Some(session) => session,
                    None => return,
                },
            };
            let mut pause = pauses.next().unwrap_or(TRY_AGAIN_AFTER);
            // Not given up half-way: nobody would know whether the lock is ours.
            match take(&session, &self.queue).await {
                Ok(held) => {
                    if !self.hold(held, &session).await {
                        return;
                    }
                }
                Err(AskError::Refused { code: NOT_ALLOWED, text }) => {
                    self.without(LockState::NotAllowed(text));
                    pause = SELDOM;
                }
                Err(AskError::Refused { code: LOCKED, .. }) => self.without(LockState::Taken),
                Err(error) => self.without(LockState::Waiting(error.to_string())),
            }
            if session.is_lost() {
                continue;
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = session.lost() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Holds the lock until it is lost, or given up: then false.
    async fn hold(&self, mut held: Held, session: &Session) -> bool {
        info!(queue = self.queue, "the lock is held");
        self.state.send_replace(LockState::Held);
        let reason = tokio::select! {
            reason = held.lost() => reason,
            () = self.stop.cancelled() => {
                self.state.send_replace(LockState::Waiting("given up".to_owned()));
                held.give_back(session, &self.queue).await;
                return false;
            }
        };
        warn!(queue = self.queue, reason, "the lock is lost");
        self.state.send_replace(LockState::Waiting(reason));
        true
    }

    /// Tells why the lock is not ours, and logs it when the reason is new.
    fn without(&self, now: LockState) {
        self.state.send_if_modified(|state| {
            let news = *state != now;
            if news {
                match &now {
                    LockState::Held => {}
                    LockState::Waiting(reason) => {
                        info!(queue = self.queue, reason, "waiting for the lock");
                    }
                    LockState::Taken => info!(queue = self.queue, "somebody else has the lock"),
                    LockState::NotAllowed(reason) => {
                        warn!(queue = self.queue, reason, "going on without the lock");
                    }
                }
                *state = now;
            }
            news
        });
    }
}

/// The lock, and what tells of its loss.
struct Held {
    channel: Channel,
    events: mpsc::UnboundedReceiver<ChannelEvent>,
}

impl Held {
    async fn lost(&mut self) -> String {
        loop {
            match self.events.recv().await {
                None => return "the connection was lost".to_owned(),
                Some(ChannelEvent::Closed { code, text }) => {
                    return format!("the broker closed the channel: {code} {text}");
                }
                Some(ChannelEvent::Cancelled) => return "the queue was deleted".to_owned(),
                Some(_) => {}
            }
        }
    }

    async fn give_back(self, session: &Session, queue: &str) {
        let delete = QueueDeleteArguments::new(queue);
        let giving_back = async move {
            let _deleted_or_lost = self.channel.queue_delete(delete).await;
            let _closed_or_lost = self.channel.close().await;
        };
        let _done_or_lost = session.run(giving_back).await;
    }
}

async fn take(session: &Session, queue: &str) -> Result<Held, AskError> {
    let open = session.open_channel().await?;
    let queue = queue.to_owned();
    session
        .run(async move {
            let Ok(messages) = declare(&open.channel, &queue).await else {
                return Err(open.last_words().await);
            };
            tokio::spawn(discard(messages));
            let OpenChannel { channel, events } = open;
            Ok(Held { channel, events })
        })
        .await?
}

/// Declares the queue, and consumes it: only a consumer is told if somebody deletes it.
async fn declare(
    channel: &Channel,
    queue: &str,
) -> Result<mpsc::UnboundedReceiver<ConsumerMessage>, amqprs::error::Error> {
    let mut declare = QueueDeclareArguments::new(queue);
    declare.exclusive(true).arguments(wire::arguments_to_wire(&topology::lock_arguments()));
    channel.queue_declare(declare).await?;
    channel.basic_qos(BasicQosArguments::new(0, 1, false)).await?;
    let mut consume = BasicConsumeArguments::new(queue, "");
    let (_, messages) = channel.basic_consume_rx(consume.manual_ack(true).finish()).await?;
    Ok(messages)
}

/// Drops what was published to the lock's queue by mistake. It isn't acknowledged, so with a prefetch
/// of one the broker delivers no second message. This runs on the session's thread: only its stack is
/// large enough to drop deeply nested headers.
async fn discard(mut messages: mpsc::UnboundedReceiver<ConsumerMessage>) {
    while messages.recv().await.is_some() {}
}

fn pauses() -> ConstantBackoff {
    ConstantBuilder::new().with_delay(TRY_AGAIN_AFTER).with_jitter().without_max_times().build()
}
