//! An HTTP endpoint that does the work of `PROCESSOR=http`, can go down, and come back at the same address.

use std::sync::Arc;

use anyhow::{Context, Result};
use testbed::process::WAIT_TIMEOUT;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use crate::support::http_call::{Call, read};

/// How the endpoint answers a call.
pub(crate) enum Reply {
    /// With this status, these headers (each with its line end) and this body.
    With(&'static str, String, Vec<u8>),
    /// Not at all.
    Hang,
    /// Not at all, and the connection breaks, as of one that crashes.
    Break,
    /// With a body that never ends.
    Endless,
}

impl Reply {
    /// 200 with this JSON.
    pub(crate) fn json(body: &str) -> Self {
        let kind = "Content-Type: application/json\r\n".to_owned();
        Self::With("200 OK", kind, body.as_bytes().to_vec())
    }

    /// This status with this text.
    pub(crate) fn status(status: &'static str, body: &str) -> Self {
        Self::With(status, String::new(), body.as_bytes().to_vec())
    }

    /// This status with a header.
    pub(crate) fn with_header(status: &'static str, header: &str) -> Self {
        Self::With(status, format!("{header}\r\n"), Vec::new())
    }
}

/// What answers the calls: a call, and how many came before it.
type Work = Arc<dyn Fn(&Call, usize) -> Reply + Send + Sync>;

/// What came so far.
#[derive(Default)]
struct Seen {
    calls: Vec<Call>,
    /// How many connections were closed by the caller while it had no whole answer.
    broken_off: usize,
}

/// An endpoint. It is down when this is dropped.
pub(crate) struct Endpoint {
    address: String,
    work: Work,
    seen: Arc<watch::Sender<Seen>>,
    serving: Option<JoinSet<()>>,
}

impl Endpoint {
    /// An endpoint that does this work.
    pub(crate) async fn start(
        work: impl Fn(&Call, usize) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let seen = Arc::new(watch::Sender::new(Seen::default()));
        let mut endpoint = Self { address, work: Arc::new(work), seen, serving: None };
        endpoint.serve(listener);
        Ok(endpoint)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/work?key=s3cret", self.address)
    }

    /// Closes all connections, and refuses new ones.
    pub(crate) async fn go_down(&mut self) {
        if let Some(mut serving) = self.serving.take() {
            serving.shutdown().await;
        }
    }

    /// Accepts connections again, at the same address.
    pub(crate) async fn come_back(&mut self) -> Result<()> {
        let listener = TcpListener::bind(&self.address).await?;
        self.serve(listener);
        Ok(())
    }

    /// The calls, once so many have come.
    pub(crate) async fn calls(&self, count: usize) -> Result<Vec<Call>> {
        let mut seen = self.seen.subscribe();
        let come = timeout(WAIT_TIMEOUT, seen.wait_for(|seen| seen.calls.len() >= count)).await;
        Ok(come.with_context(|| format!("there are no {count} calls"))??.calls.clone())
    }

    /// Waits until a caller has broken off so many calls.
    pub(crate) async fn broken_off(&self, count: usize) -> Result<()> {
        let mut seen = self.seen.subscribe();
        let come = timeout(WAIT_TIMEOUT, seen.wait_for(|seen| seen.broken_off >= count)).await;
        come.context("no call is broken off")??;
        Ok(())
    }

    fn serve(&mut self, listener: TcpListener) {
        let (work, seen) = (self.work.clone(), self.seen.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, work.clone(), seen.clone()));
            }
        });
        self.serving = Some(serving);
    }
}

async fn serve(stream: TcpStream, work: Work, seen: Arc<watch::Sender<Seen>>) {
    let mut stream = BufStream::new(stream);
    while let Ok(call) = read(&mut stream).await {
        let mut before = 0;
        seen.send_modify(|seen| {
            before = seen.calls.len();
            seen.calls.push(call.clone());
        });
        let reply = work(&call, before);
        if matches!(reply, Reply::Break) {
            return;
        }
        if answer(&mut stream, reply).await.is_err() {
            seen.send_modify(|seen| seen.broken_off += 1);
            return;
        }
    }
}

async fn answer(stream: &mut BufStream<TcpStream>, reply: Reply) -> Result<()> {
    match reply {
        Reply::With(status, headers, body) => {
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await?;
        }
        Reply::Hang | Reply::Break => {
            let read = stream.read(&mut [0]).await;
            anyhow::bail!("the caller has gone: {read:?}");
        }
        Reply::Endless => {
            let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, "x".repeat(1 << 16));
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
            loop {
                stream.write_all(chunk.as_bytes()).await?;
            }
        }
    }
    Ok(stream.flush().await?)
}
