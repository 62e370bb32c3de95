//! Lock: an exclusive queue, which one connection at a time can declare.

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
use tracing::{debug, info, warn};

use crate::broker::{
    error::AskError,
    link::{Link, LinkState},
    session::{OpenChannel, Session, SessionChannel, watch::ChannelEvent},
    wire,
};
use crate::topology;

/// The shortest time between two attempts; with jitter it is up to twice as long.
const RETRY_INTERVAL: Duration = Duration::from_millis(1400);
/// The time between two attempts when the user lacks the permission.
const NOT_ALLOWED_RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// How long releasing the lock may take.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// AMQP `ACCESS_REFUSED`: the user may not declare a queue of this name.
const ACCESS_REFUSED: u16 = 403;
/// AMQP `RESOURCE_LOCKED`: another connection has declared the exclusive queue.
const RESOURCE_LOCKED: u16 = 405;

/// The state of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockState {
    /// Not acquired yet, or lost, with the reason.
    Waiting(String),
    /// There is no connection to the broker, for this reason.
    Away(String),
    /// Another connection holds it.
    Taken,
    /// This program holds it. When the connection is interrupted, the broker may give the lock to
    /// another program before this one notices.
    Held,
    /// The user may not declare the queue, so the program works without the lock.
    NotAllowed(String),
}

impl LockState {
    /// Whether the program may work: it holds the lock, or its user may not acquire it.
    pub fn allows_work(&self) -> bool {
        matches!(self, Self::Held | Self::NotAllowed(_))
    }
}

/// A lock that is acquired again and again: it is lost with each connection.
pub struct Lock {
    state: watch::Receiver<LockState>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Lock {
    /// Begins to acquire the lock once `may_begin` has ended, and returns at once.
    pub(super) fn start(
        link: Link,
        queue: &str,
        may_begin: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let (sender, state) = watch::channel(LockState::Waiting("not asked for yet".to_owned()));
        let stop = CancellationToken::new();
        let acquirer = Acquirer { queue: queue.to_owned(), state: sender, stop: stop.clone() };
        let task = tokio::spawn(async move {
            if acquirer.stop.run_until_cancelled(may_begin).await.is_some() {
                acquirer.run(link).await;
            }
        });
        Self { state, stop, task }
    }

    /// Watches the state.
    pub fn state(&self) -> watch::Receiver<LockState> {
        self.state.clone()
    }

    /// Releases the lock, so that another program can acquire it at once.
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

struct Acquirer {
    queue: String,
    state: watch::Sender<LockState>,
    stop: CancellationToken,
}

impl Acquirer {
    async fn run(self, mut link: Link) {
        let mut pauses = pauses();
        loop {
            let session = tokio::select! {
                () = self.stop.cancelled() => return,
                session = link.ready_or(|link| self.set_away(link)) => match session {
                    Some(session) => session,
                    None => return,
                },
            };
            let mut pause = pauses.next().unwrap_or(RETRY_INTERVAL);
            // Not cancelled half-way: then it would be unknown whether the lock is held.
            match acquire(&session, &self.queue).await {
                Ok(held) => {
                    if !self.hold(held, &session).await {
                        return;
                    }
                }
                Err(AskError::Refused { code: ACCESS_REFUSED, text }) => {
                    self.set_not_held(LockState::NotAllowed(text));
                    pause = NOT_ALLOWED_RETRY_INTERVAL;
                }
                Err(AskError::Refused { code: RESOURCE_LOCKED, .. }) => {
                    self.set_not_held(LockState::Taken)
                }
                Err(error) => self.set_not_held(LockState::Waiting(error.to_string())),
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

    /// Holds the lock until it is lost (true) or released (false).
    async fn hold(&self, mut held: Held, session: &Session) -> bool {
        info!(queue = self.queue, "the lock is held");
        self.state.send_replace(LockState::Held);
        let reason = tokio::select! {
            reason = held.lost() => reason,
            () = self.stop.cancelled() => {
                self.state.send_replace(LockState::Waiting("released".to_owned()));
                held.release(session, &self.queue).await;
                return false;
            }
        };
        warn!(queue = self.queue, reason, "the lock is lost");
        self.state.send_replace(LockState::Waiting(reason));
        true
    }

    /// Sets that there is no connection. The link has logged why.
    fn set_away(&self, link: &LinkState) {
        let state = match link {
            LinkState::Away(reason) => LockState::Away(reason.clone()),
            LinkState::Incomplete(missing) => LockState::Waiting(missing.clone()),
            LinkState::Ready(_) => return,
        };
        self.state.send_if_modified(|known| {
            let changed = *known != state;
            *known = state;
            changed
        });
    }

    /// Sets why the lock is not held, and logs it if that has changed.
    fn set_not_held(&self, now: LockState) {
        self.state.send_if_modified(|state| {
            let changed = *state != now;
            if changed {
                match &now {
                    LockState::Held | LockState::Away(_) => {}
                    LockState::Waiting(reason) => {
                        debug!(queue = self.queue, reason, "waiting for the lock");
                    }
                    // What that means, its owner knows.
                    LockState::Taken => debug!(queue = self.queue, "another program has the lock"),
                    LockState::NotAllowed(reason) => {
                        warn!(queue = self.queue, reason, "working without the lock");
                    }
                }
                *state = now;
            }
            changed
        });
    }
}

/// The held lock: the channel that consumes its queue, and the events that report the loss.
struct Held {
    channel: SessionChannel,
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

    async fn release(self, session: &Session, queue: &str) {
        let delete = QueueDeleteArguments::new(queue);
        let releasing = async move {
            let _deleted_or_lost = self.channel.queue_delete(delete).await;
            let _closed_or_lost = self.channel.close().await;
        };
        let _done_or_lost = session.run(releasing).await;
    }
}

async fn acquire(session: &Session, queue: &str) -> Result<Held, AskError> {
    let open = session.open_channel().await?;
    let queue = queue.to_owned();
    session
        .run(async move {
            let Ok(messages) = declare(&open.channel, &queue).await else {
                return Err(open.refusal().await);
            };
            tokio::spawn(discard(messages));
            let OpenChannel { channel, events } = open;
            Ok(Held { channel, events })
        })
        .await?
}

/// Declares the queue, and consumes it: the broker reports the deletion of a queue only to its
/// consumers.
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
    ConstantBuilder::new().with_delay(RETRY_INTERVAL).with_jitter().without_max_times().build()
}
