//! The receiver of callbacks: enters each into the ledger, and refuses some at first.

use std::convert::Infallible;

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{ledger::View, shared_ledger::SharedLedger};

/// The path of each callback, before the number of its request.
const PATH: &str = "/callbacks/";

/// Listens until it is dropped.
pub(super) struct Receiver {
    /// What a `callbackUrl` begins with, before the number of its request.
    pub(super) url: String,
    _listening: JoinSet<()>,
}

/// The body of a callback.
#[derive(Deserialize)]
struct Told {
    #[serde(rename = "type")]
    kind: String,
    data: View,
}

impl Receiver {
    pub(super) async fn start(ledger: SharedLedger) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}{PATH}", listener.local_addr()?);
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    open.spawn(serve(stream, ledger.clone()));
                }
                while open.try_join_next().is_some() {}
            }
        });
        Ok(Self { url, _listening: listening })
    }
}

async fn serve(stream: TcpStream, ledger: SharedLedger) {
    let answer = |request| async { Ok::<_, Infallible>(answer(request, &ledger).await) };
    // A web service that is killed breaks its connections off.
    let _ended =
        http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

async fn answer(request: Request<Incoming>, ledger: &SharedLedger) -> Response<Empty<Bytes>> {
    let path = request.uri().path().to_owned();
    let id = request.headers().get("webhook-id").and_then(|id| id.to_str().ok());
    let id = id.unwrap_or("without webhook-id").to_owned();
    let taken = match request.into_body().collect().await {
        Ok(body) => enter(&path, &id, &body.to_bytes(), ledger).unwrap_or_else(|error| {
            ledger.lock().fault(format!("the callback {id} to {path} can't be read: {error:#}"));
            true
        }),
        // Its sender died, and did not get an answer.
        Err(_) => false,
    };
    let mut response = Response::new(Empty::new());
    *response.status_mut() =
        if taken { StatusCode::NO_CONTENT } else { StatusCode::SERVICE_UNAVAILABLE };
    response
}

/// Enters a callback, and tells whether it is taken.
fn enter(path: &str, id: &str, body: &[u8], ledger: &SharedLedger) -> Result<bool> {
    let number = path.strip_prefix(PATH).context("another path")?.parse()?;
    let Told { kind, data } = serde_json::from_slice(body)?;
    let mut ledger = ledger.lock();
    if kind != format!("request.{}", data.status) {
        ledger.fault(format!("the callback {id} is a {kind} of {data}"));
    }
    Ok(ledger.told(number, id, &data))
}
