//! Session: one AMQP connection, from the handshake until it is lost or closed.
//!
//! Each session has a thread with a Tokio runtime of its own, on which the client's tasks and
//! ours that touch its channels run. Three reasons: heartbeats and confirms go on whatever the
//! application does; when a peer dies with a full socket, the client's writer hangs in its write
//! for minutes and only dropping the runtime frees the socket and the bytes; and a question to the
//! broker (an RPC) that was begun is never cancelled, since the client would hand its answer to
//! the next question.

mod channel_numbers;
mod login;
pub(crate) mod message_limit;
mod open_failure;
mod probe;
mod session_channel;
mod session_end;
pub(crate) mod watch;

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use amqprs::{
    connection::{Connection, OpenConnectionArguments},
    error::Error,
};
use tokio::{
    runtime::{Builder, Handle},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

pub(crate) use self::{channel_numbers::SpareChannels, session_channel::SessionChannel};
use self::{
    message_limit::MessageLimit,
    session_end::{CountedChannel, Reason, SessionEnd},
    watch::{ChannelEvent, ChannelWatch, ConnectionWatch},
};
use crate::{
    broker::{
        address::Address,
        error::{AskError, OpenError},
    },
    threads::give_way,
};

/// Longer than a broker takes to refuse a password (3 s).
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// The stack of the session's thread, in bytes; memory is taken only as far as it is used. The
/// client decodes and drops nested header tables by recursion, and a frame of 128 KiB holds arrays
/// nested 26,000 deep.
const STACK_BYTES: usize = 256 * 1024 * 1024;
/// How long the broker may take to answer a question. A cluster that elects a leader takes a few
/// seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How many questions may stay unanswered before the session ends.
const MAX_UNANSWERED: usize = 5;
/// How long tasks may take after a loss to process the confirms that arrived before it.
const DISCARD_TIMEOUT: Duration = Duration::from_millis(300);
/// How long closing the connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The client never frees the number of a channel that the broker closed, and fails badly when all
/// 2047 are used up. Long before that we begin a new connection.
const MAX_CHANNELS_CLOSED_BY_BROKER: usize = 500;

/// A channel and its events. The events end when the channel does, for whatever reason.
pub(super) struct OpenChannel {
    pub(super) channel: SessionChannel,
    pub(super) events: mpsc::UnboundedReceiver<ChannelEvent>,
}

impl OpenChannel {
    /// Why the broker refused something on this channel. It refuses by closing the channel; the
    /// client's error doesn't have the reason, the channel's last event does.
    pub(super) async fn refusal(mut self) -> AskError {
        while let Some(event) = self.events.recv().await {
            if let ChannelEvent::Closed { code, text } = event {
                return AskError::Refused { code, text };
            }
        }
        AskError::Lost
    }
}

/// What a program and the broker have agreed on for a connection, and what the broker has said of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tuning {
    /// In seconds; 0 is none.
    pub heartbeat: u16,
    /// The longest frame, in bytes; 0 is no limit.
    pub frame_max: u32,
    /// The highest number of a channel; 0 is no limit.
    pub channel_max: u16,
    /// The name of the broker's cluster, if it tells.
    pub cluster_name: Option<String>,
}

enum Command {
    OpenChannel(oneshot::Sender<Result<OpenChannel, AskError>>),
    Close(oneshot::Sender<()>),
}

/// The id of the next session of this process.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// An open connection.
pub(super) struct Session {
    /// Unique in this process; a later session has a higher id.
    pub(super) id: u64,
    /// Its thread ends when this is dropped.
    running: Mutex<Option<oneshot::Sender<()>>>,
    handle: Handle,
    commands: mpsc::Sender<Command>,
    tasks: TaskTracker,
    end: SessionEnd,
    /// How many channels the broker allows on this connection.
    pub(super) max_channels: u16,
    /// What was agreed on for this connection.
    pub(super) tuning: Tuning,
    /// The broker's release, as `3.10.8`; none if it isn't RabbitMQ or doesn't say.
    pub(super) version: Option<String>,
    /// Whether the connection uses TLS. Over TLS the client leaves the end of a burst in its buffers
    /// until it writes again.
    pub(super) tls: bool,
    /// The length of the longest message that the broker takes, if it is known.
    pub(super) message_limit: MessageLimit,
}

impl Session {
    /// Opens a connection and logs in.
    pub(super) async fn open(address: &Address, name: &str) -> Result<Arc<Self>, OpenError> {
        let arguments = login::arguments(address, name)?;
        let (handle, running) = start_thread().await.map_err(|error| {
            OpenError::Unreachable(format!("can't start the connection's thread: {error}"))
        })?;
        let (commands, received) = mpsc::channel(16);
        let (opened, answer) = oneshot::channel();
        let mut session = Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            max_channels: 0,
            version: None,
            tuning: Tuning::default(),
            handle,
            running: Mutex::new(Some(running)),
            commands,
            tasks: TaskTracker::new(),
            end: SessionEnd::default(),
            tls: address.tls,
            message_limit: MessageLimit::default(),
        };
        session.handle.spawn(run_connection(arguments, session.end.clone(), opened, received));
        let began = Instant::now();
        let error = match timeout(OPEN_TIMEOUT, answer).await {
            Ok(Ok(Ok(Opened { version, max_channels, tuning }))) => {
                (session.version, session.max_channels) = (version, max_channels);
                session.tuning = tuning;
                return Ok(Arc::new(session));
            }
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(_)) => "the handshake failed".to_owned(),
            Err(_) => format!("no answer within {OPEN_TIMEOUT:?}"),
        };
        let took = began.elapsed();
        // Closes the socket: a small server may serve one client at a time.
        drop(session);
        Err(open_failure::explain(&error, address, took).await)
    }

    /// Opens a channel.
    pub(super) async fn open_channel(&self) -> Result<OpenChannel, AskError> {
        if self.end.closed_by_broker() > MAX_CHANNELS_CLOSED_BY_BROKER {
            self.end.end(None, "the broker has closed too many channels");
        }
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::OpenChannel(reply)).await.map_err(|_| AskError::Lost)?;
        tokio::select! {
            () = self.end.lost.cancelled() => Err(AskError::Lost),
            answer = answer => answer.unwrap_or(Err(AskError::Lost)),
        }
    }

    /// Whether the broker has closed so many channels that optional users should open no more on
    /// this connection.
    pub(super) fn channels_run_short(&self) -> bool {
        let max = MAX_CHANNELS_CLOSED_BY_BROKER.min(self.max_channels.into());
        self.end.closed_by_broker() > max / 2
    }

    /// Tells whether channels are left on this connection.
    pub(super) fn spare_channels(&self) -> SpareChannels {
        SpareChannels { end: self.end.clone(), max: self.max_channels.into() }
    }

    /// Runs a question to the broker on this session's own thread, and waits for its end as long as
    /// the session lives, or for [`ANSWER_TIMEOUT`]. The question itself is not cancelled when the
    /// caller stops waiting. A single unanswered question doesn't end the session, because the
    /// broker may still serve other queues; more than [`MAX_UNANSWERED`] end it.
    pub(super) async fn run<T, W>(&self, work: W) -> Result<T, AskError>
    where
        T: Send + 'static,
        W: Future<Output = T> + Send + 'static,
    {
        let task = self.tasks.spawn_on(work, &self.handle);
        tokio::select! {
            result = task => result.map_err(|_| AskError::Lost),
            () = self.end.lost.cancelled() => Err(AskError::Lost),
            () = sleep(ANSWER_TIMEOUT) => {
                if self.end.unanswered.fetch_add(1, Ordering::Relaxed) >= MAX_UNANSWERED {
                    self.end.end(None, "the broker did not answer several requests");
                }
                Err(AskError::Lost)
            }
        }
    }

    /// How many questions the broker has left unanswered so far.
    pub(super) fn unanswered(&self) -> usize {
        self.end.unanswered.load(Ordering::Relaxed)
    }

    /// Spawns work on this session's own thread that ends when the session is lost.
    pub(super) fn spawn<W>(&self, work: W) -> JoinHandle<W::Output>
    where
        W: Future<Output: Send + 'static> + Send + 'static,
    {
        self.tasks.spawn_on(work, &self.handle)
    }

    /// The tasks that run on this session's thread; [`Session::discard`] gives them a moment to end.
    pub(super) fn tasks(&self) -> TaskTracker {
        self.tasks.clone()
    }

    /// Waits until the connection is lost or ended, and says why.
    pub(super) async fn lost(&self) -> String {
        self.end.lost.cancelled().await;
        self.end.reason().map_or_else(|| "the socket was closed".to_owned(), |reason| reason.text)
    }

    /// The broker's refusal, if that is what ended the session.
    pub(super) fn refusal(&self) -> Option<AskError> {
        let Reason { code, text } = self.end.reason()?;
        Some(AskError::Refused { code: code?, text })
    }

    pub(super) fn is_lost(&self) -> bool {
        self.end.lost.is_cancelled()
    }

    /// Closes the connection with the AMQP handshake. The caller makes sure that no publish or
    /// settlement is pending, since the client drops these.
    pub(super) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(Command::Close(reply)).await.is_ok() {
            let _closed_or_not = timeout(CLOSE_TIMEOUT, answer).await;
        }
        self.discard().await;
    }

    /// Ends the session and frees its resources, in whatever state the connection is.
    pub(super) async fn discard(&self) {
        self.end.lost.cancel();
        self.tasks.close();
        let _in_time_or_not = timeout(DISCARD_TIMEOUT, self.tasks.wait()).await;
        drop(self.running.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for Session {
    /// Its thread ends with the fields.
    fn drop(&mut self) {
        self.end.lost.cancel();
    }
}

/// Starts the thread of a session, which ends when the sender is dropped. The thread makes the runtime itself: with a thread
/// that is refused, a runtime would be dropped, which panics inside another one.
async fn start_thread() -> io::Result<(Handle, oneshot::Sender<()>)> {
    let ((started, handle), (running, stopped)) = (oneshot::channel(), oneshot::channel());
    let run = move || {
        give_way();
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(started.send(Err(error))),
        };
        if started.send(Ok(runtime.handle().clone())).is_ok() {
            let _dropped = runtime.block_on(stopped);
        }
        // Not waited for: a DNS lookup may hang for long.
        runtime.shutdown_background();
    };
    thread::Builder::new().name("amqp".to_owned()).stack_size(STACK_BYTES).spawn(run)?;
    let ended = |_| Err(io::Error::other("it has ended"));
    Ok((handle.await.unwrap_or_else(ended)?, running))
}

/// What the handshake has told.
struct Opened {
    version: Option<String>,
    max_channels: u16,
    tuning: Tuning,
}

/// Owns the connection, so that it is dropped on the session's runtime, and executes commands on it.
async fn run_connection(
    arguments: OpenConnectionArguments,
    end: SessionEnd,
    opened: oneshot::Sender<Result<Opened, Error>>,
    mut commands: mpsc::Receiver<Command>,
) {
    let connection = match Connection::open(&arguments).await {
        Ok(connection) => connection,
        Err(error) => return drop(opened.send(Err(error))),
    };
    let registered = connection.register_callback(ConnectionWatch(end.clone())).await;
    let handshake = Opened {
        version: version(&connection),
        tuning: tuning(&connection),
        max_channels: channel_numbers::max_channels(connection.channel_max()),
    };
    if opened.send(registered.map(|()| handshake)).is_err() {
        return;
    }
    while let Some(command) = commands.recv().await {
        match command {
            Command::OpenChannel(reply) => drop(reply.send(open_channel(&connection, &end).await)),
            Command::Close(done) => {
                let _closed_or_not = connection.close().await;
                let _waited_for_or_not = done.send(());
                return;
            }
        }
    }
}

/// The broker's release; the client says "unknown" where the broker doesn't name it.
fn version(connection: &Connection) -> Option<String> {
    let broker = connection.server_properties();
    let is_known = broker.product() == "RabbitMQ" && broker.version().starts_with(char::is_numeric);
    is_known.then(|| broker.version().to_owned())
}

fn tuning(connection: &Connection) -> Tuning {
    // The client says "unknown" where the broker doesn't name it.
    let cluster = connection.server_properties().cluster_name().to_owned();
    Tuning {
        heartbeat: connection.heartbeat(),
        frame_max: connection.frame_max(),
        channel_max: connection.channel_max(),
        cluster_name: Some(cluster).filter(|name| !matches!(name.as_str(), "" | "unknown")),
    }
}

async fn open_channel(connection: &Connection, end: &SessionEnd) -> Result<OpenChannel, AskError> {
    let (sender, events) = mpsc::unbounded_channel();
    let channel = SessionChannel::new(channel_numbers::open(connection, end).await?);
    let watch = ChannelWatch {
        events: sender,
        closed_channels: end.closed_channels.clone(),
        _open: CountedChannel::new(end),
    };
    channel.register_callback(watch).await.map_err(|_| AskError::Lost)?;
    Ok(OpenChannel { channel, events })
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    #[tokio::test]
    async fn the_thread_of_a_session_frees_what_its_tasks_hold_when_the_session_ends() {
        let (handle, running) = start_thread().await.unwrap();
        let thread = handle.spawn(async { thread::current().name().map(str::to_owned) });
        assert_eq!(thread.await.unwrap().as_deref(), Some("amqp"));
        let (held, mut freed) = oneshot::channel::<()>();
        // As a writer whose peer does not read.
        let writing = handle.spawn(async move {
            let _held = held;
            pending::<()>().await;
        });
        assert!(freed.try_recv().is_err_and(|error| error == TryRecvError::Empty));
        drop(running);
        assert!(timeout(OPEN_TIMEOUT, freed).await.unwrap().is_err());
        assert!(writing.await.unwrap_err().is_cancelled());
    }
}
