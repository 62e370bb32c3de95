//! An HTTP server that receives callbacks; the path of the URL says how it answers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use testbed::process::WAIT_TIMEOUT;
use tokio::{
    io::{AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

use crate::support::http_call::{Call, read};

impl Call {
    pub(super) fn json(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.body)?)
    }

    pub(super) fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// Checks the signature as a receiver does, who knows the secret and nothing of ours.
    pub(super) fn is_signed_with(&self, secret: &str) -> Result<()> {
        let secret = STANDARD.decode(secret.trim_start_matches("whsec_"))?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret)?;
        let timestamp = &self.headers["webhook-timestamp"];
        mac.update(format!("{}.{timestamp}.{}", self.id(), self.body).as_bytes());
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        let signatures = &self.headers["webhook-signature"];
        ensure!(signatures.split(' ').any(|one| one == expected), "{signatures}, not {expected}");
        Ok(())
    }
}

/// Listens until it is dropped.
pub(super) struct Receiver {
    port: u16,
    calls: watch::Receiver<Vec<Call>>,
    /// Whether those who are called by `/hang` go on to hang; then they close.
    hanging: Arc<watch::Sender<bool>>,
    _listening: tokio::task::JoinSet<()>,
}

impl Receiver {
    pub(super) async fn start() -> Result<Self> {
        Self::on_hosts(1).await
    }

    /// Listens on the same port of many addresses of this machine, from 127.0.0.1 on.
    pub(super) async fn on_hosts(hosts: u8) -> Result<Self> {
        let mut listeners = vec![TcpListener::bind("127.0.0.1:0").await?];
        let port = listeners[0].local_addr()?.port();
        for host in 2..=hosts {
            listeners
                .push(TcpListener::bind((std::net::Ipv4Addr::new(127, 0, 0, host), port)).await?);
        }
        let (seen, calls) = watch::channel(Vec::new());
        let (seen, hanging) = (Arc::new(seen), Arc::new(watch::Sender::new(true)));
        let times = Arc::new(Mutex::new(HashMap::new()));
        let mut listening = tokio::task::JoinSet::new();
        for listener in listeners {
            let (seen, times, hang) = (seen.clone(), times.clone(), hanging.clone());
            listening.spawn(async move {
                let mut open = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    open.spawn(serve(stream, seen.clone(), times.clone(), hang.subscribe()));
                }
            });
        }
        Ok(Self { port, calls, hanging, _listening: listening })
    }

    /// An address of this receiver.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// An address of this receiver, on one of its hosts.
    pub(super) fn at(&self, host: u8, path: &str) -> String {
        format!("http://127.0.0.{host}:{}{path}", self.port)
    }

    /// The same receiver, under the name of another host.
    pub(super) fn elsewhere(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    /// Waits until it was called by a path as often as this, and gives those calls.
    pub(super) async fn calls(&self, path: &str, count: usize) -> Result<Vec<Call>> {
        let mut calls = self.calls.clone();
        let come =
            calls.wait_for(|calls| calls.iter().filter(|call| call.path == path).count() >= count);
        let come = timeout(WAIT_TIMEOUT, come).await;
        let all = come.with_context(|| format!("{path} was not called {count} times"))??.clone();
        Ok(all.into_iter().filter(|call| call.path == path).collect())
    }

    /// Waits until it was called as often as this by paths that begin like this.
    pub(super) async fn count_to(&self, path: &str, count: usize) -> Result<()> {
        let mut calls = self.calls.clone();
        let come = calls.wait_for(|calls| {
            calls.iter().filter(|call| call.path.starts_with(path)).count() >= count
        });
        let come = timeout(WAIT_TIMEOUT, come).await;
        come.with_context(|| format!("{path} was not called {count} times"))??;
        Ok(())
    }

    /// How often it was called by paths that begin like this.
    pub(super) fn count(&self, path: &str) -> usize {
        self.calls.borrow().iter().filter(|call| call.path.starts_with(path)).count()
    }

    /// Those who hang close their connections, and from now on nobody hangs.
    pub(super) fn let_go(&self) {
        self.hanging.send_replace(false);
    }
}

async fn serve(
    stream: TcpStream,
    seen: Arc<watch::Sender<Vec<Call>>>,
    times: Arc<Mutex<HashMap<String, usize>>>,
    mut hanging: watch::Receiver<bool>,
) {
    let mut stream = BufStream::new(stream);
    while let Ok(call) = read(&mut stream).await {
        let path = call.path.clone();
        let time = {
            let mut times = times.lock().expect("nobody panics here");
            let time = times.entry(path.clone()).or_insert(0);
            *time += 1;
            *time
        };
        seen.send_modify(|calls| calls.push(call));
        let behaviour = path.split('/').nth(1).unwrap_or_default();
        let empty = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let answer = match behaviour {
            "flaky" if time == 1 => empty("500 Oh"),
            "busy" if time == 1 => empty("503 Busy\r\nRetry-After: 4"),
            "later" if time == 1 => empty("503 Busy\r\nRetry-After: 3600"),
            "gone" if time == 1 => empty("410 Gone"),
            "redirect" => empty("302 Found\r\nLocation: /target"),
            "close" if time == 1 => return,
            "huge" => {
                let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, "x".repeat(1 << 16));
                let _ = stream.write_all(head).await;
                while stream.write_all(chunk.as_bytes()).await.is_ok() {}
                return;
            }
            "hang" if *hanging.borrow() => {
                let _ = hanging.wait_for(|hanging| !hanging).await;
                return;
            }
            _ => empty("204 No Content"),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}
