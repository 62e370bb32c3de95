//! Tap: a proxy between a worker and the broker, which notes what passes, and can keep confirms back.

use std::{
    collections::HashMap,
    io,
    mem::take,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::StreamExt;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_util::codec::FramedRead;

use super::{
    frames::{Content, Frame, Frames, Method},
    trace::{Assembler, Seen, Sender, Trace},
};

/// A proxy on a port of its own. It ends, with all its connections, when this is dropped.
pub(super) struct Tap {
    port: u16,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    broker: String,
    trace: Mutex<Trace>,
    /// Told whenever something was noted.
    news: watch::Sender<()>,
    /// Whether confirms are kept back.
    holding: watch::Sender<bool>,
    /// Counts the times that all connections were cut.
    cuts: watch::Sender<u32>,
    connections: AtomicUsize,
}

impl Tap {
    /// Starts a proxy to the broker at `HOST:PORT`, which tells by `news` whenever it has noted something.
    ///
    /// # Errors
    /// If there is no free port.
    pub(super) async fn start(broker: String, news: watch::Sender<()>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            broker,
            trace: Mutex::default(),
            news,
            holding: watch::Sender::new(false),
            cuts: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, shared.clone()));
        Ok(Self { port, shared, _accepting: accepting })
    }

    /// Where it listens, on 127.0.0.1.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Keeps the broker's confirms back, or lets those pass that were kept back.
    pub(super) fn hold_confirms(&self, hold: bool) {
        self.shared.holding.send_replace(hold);
    }

    /// Cuts all connections.
    pub(super) fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// What has passed so far.
    pub(super) fn trace(&self) -> MutexGuard<'_, Trace> {
        self.shared.trace()
    }
}

impl Shared {
    fn trace(&self) -> MutexGuard<'_, Trace> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, seen: Seen) {
        self.trace().0.push(seen);
        self.news.send_replace(());
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(connect(client, shared.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Passes on what comes from either side, until one of them is gone.
async fn connect(client: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    let Ok(broker) = TcpStream::connect(&shared.broker).await else { return };
    let connection = shared.connections.fetch_add(1, Ordering::Relaxed);
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let pump =
        |sender| Pump { sender, connection, shared: shared.clone(), channels: HashMap::new() };
    tokio::select! {
        () = pump(Sender::Worker).run(from_client, to_broker) => {}
        () = pump(Sender::Broker).run(from_broker, to_client) => {}
        _ = cuts.changed() => {}
    }
}

/// One direction of a connection.
struct Pump {
    sender: Sender,
    connection: usize,
    shared: Arc<Shared>,
    channels: HashMap<u16, Assembler>,
}

impl Pump {
    async fn run(mut self, from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let mut frames = FramedRead::new(from, Frames);
        let mut holding = self.shared.holding.subscribe();
        let mut held = Vec::new();
        loop {
            let passed = tokio::select! {
                frame = frames.next() => match frame {
                    Some(Ok(frame)) if *holding.borrow() && self.is_confirm(&frame) => {
                        held.push(frame);
                        continue;
                    }
                    Some(Ok(frame)) => vec![frame],
                    _ => return,
                },
                Ok(()) = holding.changed() => match *holding.borrow_and_update() {
                    true => continue,
                    false => take(&mut held),
                },
            };
            for frame in passed {
                // Noted first: whatever it causes comes after it.
                self.note(&frame);
                if to.write_all(&frame.bytes).await.is_err() {
                    return;
                }
            }
        }
    }

    fn is_confirm(&self, frame: &Frame) -> bool {
        let is_ack =
            matches!(frame.content(), Content::Method(Method::Ack { .. } | Method::Nack { .. }));
        self.sender == Sender::Broker && is_ack
    }

    fn note(&mut self, frame: &Frame) {
        let Some(channel) = frame.channel() else { return };
        let assembler = self.channels.entry(channel).or_default();
        if let Some(what) = assembler.add(self.sender, frame.content()) {
            self.shared.note(Seen { connection: self.connection, channel, what });
        }
    }
}
