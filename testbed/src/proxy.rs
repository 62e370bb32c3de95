//! A TCP proxy that breaks the network on purpose.

mod confirms;
mod pump;
mod rules;

use std::{io::ErrorKind, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use self::rules::Rules;
use crate::ports;

/// A proxy in front of one address. Dropping it closes everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    rules: Arc<watch::Sender<Rules>>,
    listening: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and passes connections on to `target` (`host:port`).
    pub async fn start(target: impl Into<String>) -> Result<Self> {
        let listener = listen_anywhere()?;
        let address = listener.local_addr()?;
        let rules = Arc::new(watch::Sender::new(Rules::default()));
        let (tell, listening) = watch::channel(true);
        let task = tokio::spawn(serve(listener, target.into(), Arc::clone(&rules), tell));
        Ok(Self { address, rules, listening, task })
    }

    /// The proxy's own address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `url` with its host and port replaced by the proxy's.
    pub fn url(&self, url: &str) -> String {
        let authority_at = url.find("://").map_or(0, |at| at + 3);
        let end = url[authority_at..].find('/').map_or(url.len(), |at| authority_at + at);
        let host_at =
            url[authority_at..end].rfind('@').map_or(authority_at, |at| authority_at + at + 1);
        format!("{}{}{}", &url[..host_at], self.address, &url[end..])
    }

    /// Closes all connections; new ones are welcome.
    pub fn cut(&self) {
        self.rules.send_modify(|rules| rules.cuts += 1);
    }

    /// Closes the next connection after it has sent `bytes` to the target, in the middle of whatever it was saying.
    pub fn cut_after(&self, bytes: u64) {
        self.rules.send_modify(|rules| rules.next_limit = Some(bytes));
    }

    /// Refuses new connections. Those that are open stay so; [`Proxy::cut`] closes them.
    pub async fn refuse(&self) -> Result<()> {
        self.listen(false).await
    }

    /// Takes new connections again.
    pub async fn accept(&self) -> Result<()> {
        self.listen(true).await
    }

    /// Stops reading on both sides, like a frozen peer: nothing arrives, and the senders' sockets fill up.
    pub fn stall(&self) {
        self.rules.send_modify(|rules| rules.stalled = true);
    }

    /// Holds back what the target says; what is said to it arrives.
    pub fn hold_answers(&self) {
        self.rules.send_modify(|rules| rules.holding = true);
    }

    /// Goes on where [`Proxy::stall`] or [`Proxy::hold_answers`] stopped; nothing was lost.
    pub fn resume(&self) {
        self.rules.send_modify(|rules| (rules.stalled, rules.holding) = (false, false));
    }

    /// Holds back what clients say; what is said to them still arrives. For good.
    pub fn mute(&self) {
        self.rules.send_modify(|rules| rules.muted = true);
    }

    /// Swallows the next publisher confirm that the target sends: the client never gets it. The line has to be quiet
    /// enough that what arrives at once begins with a frame.
    pub fn swallow_confirm(&self) {
        self.rules.send_modify(|rules| rules.confirms_to_swallow += 1);
    }

    /// Holds every piece of data back for `delay`, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.rules.send_modify(|rules| rules.delay = delay);
    }

    async fn listen(&self, yes: bool) -> Result<()> {
        self.rules.send_modify(|rules| rules.refusing = !yes);
        let mut listening = self.listening.clone();
        listening
            .wait_for(|now| *now == yes)
            .await
            .context("the proxy has ended: its port was taken")?;
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.task.abort();
    }
}

async fn serve(
    first: TcpListener,
    target: String,
    rules: Arc<watch::Sender<Rules>>,
    tell: watch::Sender<bool>,
) {
    let Ok(address) = first.local_addr() else { return };
    let mut listener = Some(first);
    let mut changes = rules.subscribe();
    loop {
        let refusing = changes.borrow_and_update().refusing;
        if refusing {
            listener = None;
        } else if listener.is_none() {
            let Ok(again) = listen(address) else { return };
            listener = Some(again);
        }
        tell.send_replace(!refusing);
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            client = next_client(listener.as_ref()) => { tokio::spawn(pump::connect(client, target.clone(), Arc::clone(&rules))); }
        }
    }
}

/// With a small buffer of its own, so that a stalled or slow line fills the sender's socket as a
/// network would, and not the memory of this machine.
/// Listens on a free port. A child that was just being started may hold the socket with which a port was tried out: then
/// another one is taken.
fn listen_anywhere() -> Result<TcpListener> {
    loop {
        match listen(SocketAddr::from(([127, 0, 0, 1], ports::free()?))) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            listener => return Ok(listener?),
        }
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_recv_buffer_size(64 * 1024)?;
    socket.bind(address)?;
    socket.listen(1024)
}

async fn next_client(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        // An error here is about one connection that was gone before it was taken.
        if let Ok((client, _)) = listener.accept().await {
            return client;
        }
    }
}
